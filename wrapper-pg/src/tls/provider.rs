//! Which crypto provider rustls gets: a documented order, never a silent choice by features (R16).

use std::sync::Arc;

use rustls::crypto::CryptoProvider as Provider;
use wrapper_core::{Error, Result};

use super::CryptoProvider;

/// A provider, and why it was taken, for `explain`.
#[derive(Clone, Debug)]
pub(super) struct Chosen {
    pub(super) provider: Arc<Provider>,
    pub(super) why: String,
}

/// The crypto providers that are compiled in, in the order of preference: a program that was built with AWS-LC, say
/// for FIPS, must not end up on ring because another crate of its tree has switched that on.
pub(super) fn compiled() -> &'static [CryptoProvider] {
    &[
        #[cfg(feature = "tls-aws-lc-rs")]
        CryptoProvider::AwsLcRs,
        #[cfg(feature = "tls-ring")]
        CryptoProvider::Ring,
    ]
}

/// The provider of a connector: the one that `tls_provider` names; else the one that the application has installed for
/// its process; else the first of [`compiled`].
///
/// # Errors
/// A configuration error: the named one is not compiled in, or there is none at all.
pub(super) fn choose(named: Option<CryptoProvider>) -> Result<Chosen> {
    choose_from(named, Provider::get_default(), compiled())
}

fn choose_from(
    named: Option<CryptoProvider>,
    installed: Option<&Arc<Provider>>,
    compiled: &[CryptoProvider],
) -> Result<Chosen> {
    if let Some(named) = named {
        return Ok(Chosen { provider: make(named)?, why: format!("{named}, named by `tls_provider`") });
    }
    if let Some(installed) = installed {
        let why = "the one that the application has installed for its process".to_owned();
        return Ok(Chosen { provider: Arc::clone(installed), why });
    }
    let Some(first) = compiled.first() else {
        return Err(Error::config(
            "TLS has no crypto provider; enable the feature `tls-ring` or `tls-aws-lc-rs` of wrapper-pg",
        ));
    };
    let why = match compiled {
        [_] => format!("{first}, the only one that is compiled in"),
        _ => format!("{first}, the first of those that are compiled in; `tls_provider` can name another"),
    };
    Ok(Chosen { provider: make(*first)?, why })
}

fn make(named: CryptoProvider) -> Result<Arc<Provider>> {
    match named {
        #[cfg(feature = "tls-ring")]
        CryptoProvider::Ring => Ok(Arc::new(rustls::crypto::ring::default_provider())),
        #[cfg(feature = "tls-aws-lc-rs")]
        CryptoProvider::AwsLcRs => Ok(Arc::new(rustls::crypto::aws_lc_rs::default_provider())),
        #[cfg(not(feature = "tls-ring"))]
        CryptoProvider::Ring => Err(Error::config(
            "`tls_provider=ring` is not compiled in; enable the feature `tls-ring` of wrapper-pg",
        )),
        #[cfg(not(feature = "tls-aws-lc-rs"))]
        CryptoProvider::AwsLcRs => Err(Error::config(
            "`tls_provider=aws-lc-rs` is not compiled in; enable the feature `tls-aws-lc-rs` of wrapper-pg",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(any(feature = "tls-ring", feature = "tls-aws-lc-rs"))]
    #[test]
    fn named_comes_before_installed_and_installed_before_compiled() {
        let first = compiled()[0];
        let installed = Arc::new(Provider { cipher_suites: Vec::new(), ..(*make(first).unwrap()).clone() });
        let named = choose_from(Some(first), Some(&installed), compiled()).unwrap();
        assert!(
            !named.provider.cipher_suites.is_empty() && named.why.contains("`tls_provider`"),
            "{}",
            named.why
        );
        let taken = choose_from(None, Some(&installed), compiled()).unwrap();
        assert!(Arc::ptr_eq(&taken.provider, &installed) && taken.why.contains("installed"), "{}", taken.why);
        let own = choose_from(None, None, compiled()).unwrap();
        assert!(own.why.starts_with(first.as_str()), "{}", own.why);
    }

    #[test]
    fn none_at_all_names_the_features() {
        let error = choose_from(None, None, &[]).unwrap_err().to_string();
        assert!(error.contains("tls-ring") && error.contains("tls-aws-lc-rs"), "{error}");
    }

    #[cfg(all(feature = "tls-ring", feature = "tls-aws-lc-rs"))]
    #[test]
    fn of_two_the_order_decides_and_says_so() {
        let chosen = choose_from(None, None, compiled()).unwrap();
        assert!(chosen.why.starts_with("aws-lc-rs, the first of"), "{}", chosen.why);
        assert!(choose_from(Some(CryptoProvider::Ring), None, compiled()).unwrap().why.starts_with("ring"));
    }

    #[cfg(not(all(feature = "tls-ring", feature = "tls-aws-lc-rs")))]
    #[test]
    fn one_that_is_not_compiled_in_is_refused_with_its_feature() {
        let absent = if cfg!(feature = "tls-ring") { CryptoProvider::AwsLcRs } else { CryptoProvider::Ring };
        let error = choose_from(Some(absent), None, compiled()).unwrap_err().to_string();
        assert!(error.contains(&format!("`tls_provider={absent}`")) && error.contains("feature"), "{error}");
    }
}
