//! Whose credentials are used.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, future};
use wrapper_core::ErrorKind;

use super::*;

#[allow(deprecated, reason = "the crate that they have moved to is none of ours")]
mod moved {
    pub(in crate::aws) type Files = aws_config::profile::profile_file::ProfileFiles;
    pub(super) type Kind = aws_config::profile::profile_file::ProfileFileKind;
}
pub(super) use moved::Files;
use moved::Kind;

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_704_067_200 + seconds)
}

/// Gives credentials that live for an hour, and counts.
#[derive(Debug, Default)]
struct Role(AtomicU32);

impl ProvideCredentials for Role {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let hour = u64::from(self.0.fetch_add(1, Ordering::SeqCst) + 1) * 3600;
        let name = format!("AKID{hour}");
        future::ProvideCredentials::ready(Ok(Credentials::new(name, "secret", None, Some(at(hour)), "test")))
    }
}

#[tokio::test]
async fn credentials_are_kept_until_shortly_before_their_end() {
    let identity = Identity::new(None, Some(SharedCredentialsProvider::new(Role::default())));
    for (second, key) in [(0, "AKID3600"), (3000, "AKID3600"), (3400, "AKID7200"), (3500, "AKID7200")] {
        let credentials = identity.credentials("us-east-2", at(second)).await.unwrap();
        assert_eq!(credentials.access_key_id(), key, "at {second} s");
    }
}

#[tokio::test]
async fn aws_profile_names_the_profile_whose_keys_are_used() {
    let files = "[default]\naws_access_key_id = AKIDDEFAULT\naws_secret_access_key = one\n\
                 [shop]\naws_access_key_id = AKIDSHOP\naws_secret_access_key = two\n";
    let files = Files::builder().with_contents(Kind::Credentials, files).build();
    let with = |profile: &str| {
        let mut identity = Identity::new(Some(profile.to_owned()), None);
        identity.files = Some(files.clone());
        identity
    };
    for (profile, key) in [("shop", "AKIDSHOP"), ("default", "AKIDDEFAULT")] {
        let identity = with(profile);
        assert_eq!(identity.name(), format!("profile `{profile}`"));
        assert_eq!(identity.credentials("us-east-2", at(0)).await.unwrap().access_key_id(), key);
    }
    let error = with("none").credentials("us-east-2", at(0)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert!(error.to_string().contains("`none`") && error.to_string().contains("aws_profile"), "{error}");
}

#[test]
fn regions_are_written_as_aws_writes_them() {
    for region in ["us-east-2", "us-gov-west-1", "ap-southeast-5", "us-iso-east-1"] {
        check_region("iam_region", region).unwrap();
    }
    for region in ["Ohio", "us_east_2", "US-EAST-2", "", "us-east-2.amazonaws.com", "-"] {
        let error = check_region("iam_region", region).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains(&format!("`iam_region={region}`")), "{error}");
    }
}
