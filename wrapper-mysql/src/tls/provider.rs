//! Which crypto provider rustls gets. The driver takes the one that is installed for the process and no other, so the
//! one that is chosen is installed there when none is (decision 0012).

use rustls::crypto::CryptoProvider as Provider;
use wrapper_core::{Error, Result};

use super::CryptoProvider;

/// The crypto providers that are compiled in, in the order of preference: a program that was built with AWS-LC, say
/// for FIPS, must not end up on ring because another crate of its tree has switched that on.
fn compiled() -> &'static [CryptoProvider] {
    &[
        #[cfg(feature = "tls-aws-lc-rs")]
        CryptoProvider::AwsLcRs,
        #[cfg(feature = "tls-ring")]
        CryptoProvider::Ring,
    ]
}

/// Sees to it that the process has a crypto provider, and says which and why.
///
/// # Errors
/// A configuration error: the named one is not compiled in, or another one is installed already; there is none at all.
pub(super) fn ensure(named: Option<CryptoProvider>) -> Result<String> {
    if let Some(installed) = Provider::get_default() {
        return match named {
            None => Ok("the one that is installed for the process".to_owned()),
            Some(named) if same(installed, &make(named)?) => {
                Ok(format!("{named}, named by `tls_provider` and installed for the process"))
            }
            Some(named) => Err(Error::config(format!(
                "`tls_provider={named}`: another crypto provider is installed for the process, and the driver \
                 mysql_async uses that alone; leave `tls_provider` out, or install {named} first \
                 (`rustls::crypto::CryptoProvider::install_default`)"
            ))),
        };
    }
    let (choice, why) = match (named, compiled()) {
        (Some(named), _) => (named, "named by `tls_provider`".to_owned()),
        (None, [only]) => (*only, "the only one that is compiled in".to_owned()),
        (None, [first, ..]) => {
            (*first, "the first of those that are compiled in; `tls_provider` can name another".to_owned())
        }
        (None, []) => {
            return Err(Error::config(
                "TLS has no crypto provider; enable the feature `tls-ring` or `tls-aws-lc-rs` of wrapper-mysql",
            ));
        }
    };
    // Somebody else may have been quicker: then theirs holds, as for every user of rustls in the process.
    let installed = make(choice)?.install_default().is_ok();
    Ok(if installed {
        format!("{choice}, {why}")
    } else {
        "the one that is installed for the process".to_owned()
    })
}

/// Whether two providers are of one making, as far as they show.
fn same(one: &Provider, other: &Provider) -> bool {
    format!("{:?}", one.key_provider) == format!("{:?}", other.key_provider)
        && format!("{:?}", one.secure_random) == format!("{:?}", other.secure_random)
}

fn make(named: CryptoProvider) -> Result<Provider> {
    match named {
        #[cfg(feature = "tls-ring")]
        CryptoProvider::Ring => Ok(rustls::crypto::ring::default_provider()),
        #[cfg(feature = "tls-aws-lc-rs")]
        CryptoProvider::AwsLcRs => Ok(rustls::crypto::aws_lc_rs::default_provider()),
        #[cfg(not(feature = "tls-ring"))]
        CryptoProvider::Ring => Err(Error::config(
            "`tls_provider=ring` is not compiled in; enable the feature `tls-ring` of wrapper-mysql",
        )),
        #[cfg(not(feature = "tls-aws-lc-rs"))]
        CryptoProvider::AwsLcRs => Err(Error::config(
            "`tls_provider=aws-lc-rs` is not compiled in; enable the feature `tls-aws-lc-rs` of wrapper-mysql",
        )),
    }
}
