//! Which token a connection needs, and the making of it.

use std::time::Duration;

use async_trait::async_trait;
use wrapper_core::credentials::{
    Credential, CredentialKey, CredentialProvider, FetchRequest, Fetched, Wanted,
};
use wrapper_core::host::{EndpointKind, HostKey, classify};
use wrapper_core::{Error, Result};

use super::token::{LIFE, Place, token};
use crate::aws::{Identity, lasts};

/// What the plugin was set to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rules {
    pub(super) host: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) region: Option<String>,
    pub(crate) expiration: Duration,
    /// The hosts that the application has written down; `host` and `region` were written with them in mind.
    pub(super) configured: Vec<String>,
}

#[derive(Debug)]
pub(super) struct IamProvider {
    pub(super) identity: Identity,
    pub(super) rules: Rules,
}

impl Rules {
    /// The name that a token for a connection to `dialled` is signed for.
    fn host(&self, dialled: &str) -> Result<String> {
        let named = classify(dialled);
        // AWS signs for no custom endpoints.
        let does = named.is_rds() && named.kind() != EndpointKind::CustomCluster;
        match &self.host {
            Some(host) if !does || self.is_configured(dialled) => Ok(host.clone()),
            _ if does => Ok(named.host().to_owned()),
            _ => Err(Error::config(format!(
                "`iam_host` is not set, and no IAM token can be signed for `{dialled}`, which is no name that RDS gives to \
                 an instance, a cluster or a proxy; set `iam_host` to such a name of the database, such as \
                 `db.cluster-xyz.us-east-2.rds.amazonaws.com`"
            ))),
        }
    }

    fn region(&self, host: &str, dialled: &str) -> Result<String> {
        let named = classify(host).region().map(str::to_owned);
        match (&self.region, named) {
            (Some(region), named) if named.is_none() || self.is_configured(dialled) => Ok(region.clone()),
            (_, Some(region)) => Ok(region),
            _ => Err(Error::config(format!(
                "`iam_region` is not set, and the host name `{host}` does not tell the region; set it, such as \
                 `iam_region=us-east-2`"
            ))),
        }
    }

    /// Host, port and region that a token for a connection to `dialled` is signed for.
    pub(crate) fn place(&self, dialled: &HostKey) -> Result<(String, u16, String)> {
        let host = self.host(dialled.host())?;
        let region = self.region(&host, dialled.host())?;
        Ok((host, self.port.unwrap_or_else(|| dialled.port()), region))
    }

    fn is_configured(&self, dialled: &str) -> bool {
        self.configured.iter().any(|host| host == dialled)
    }
}

#[async_trait]
impl CredentialProvider for IamProvider {
    fn name(&self) -> &'static str {
        "iam"
    }

    fn key(&self, wanted: &Wanted<'_>) -> Result<CredentialKey> {
        let user = wanted.user.filter(|user| !user.is_empty()).ok_or_else(|| {
            Error::config("`user` is not set: an IAM token is made for one user of the database; set it")
        })?;
        let (host, port, region) = self.rules.place(&wanted.target.host.key)?;
        let key = CredentialKey::new(format!("IAM token by {}", self.identity.name()));
        Ok(key.at(host, port).in_region(region).for_user(user))
    }

    async fn fetch(&self, request: &FetchRequest) -> Result<Fetched> {
        let key = &request.key;
        let (Some(region), Some(user)) = (&key.region, &key.user) else {
            return Err(Error::config("an IAM token needs a region and a user"));
        };
        let credentials = self.identity.credentials(region, request.env.wall_clock()).await?;
        let now = request.env.wall_clock();
        let token = token(&credentials, Place { host: &key.host, port: key.port, region, user }, now)?;
        // A token ends with the credentials that have signed it.
        let usable = self.rules.expiration.min(LIFE).min(lasts(&credentials, now));
        Ok(Fetched::new(Credential::new(token).in_clear_text(), usable))
    }

    fn advice(&self, key: &CredentialKey) -> Option<String> {
        let user = key.user.as_deref().unwrap_or_default();
        Some(format!(
            "check that the clock of this machine is right, that IAM authentication is on for the database, that its user \
             `{user}` may log in so (PostgreSQL: `GRANT rds_iam TO {user}`; MySQL: `IDENTIFIED WITH \
             AWSAuthenticationPlugin AS 'RDS'`), and that the AWS identity may `rds-db:connect` as it"
        ))
    }
}
