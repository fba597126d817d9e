//! Certificates for tests, made by the `openssl` program.

use std::path::Path;
use std::process::Command;

use super::give;

/// The name that the server's certificate is for.
pub const NAME: &str = "db.cluster-xyz.us-east-2.rds.amazonaws.com";

pub fn openssl(args: &[&str]) {
    let out = Command::new("openssl").args(args).output().expect("openssl is installed");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}

/// An authority and a server's certificate for [`NAME`] made by it, in `folder`.
pub fn certificates(folder: &Path) {
    let path = |name: &str| folder.join(name).display().to_string();
    std::fs::write(folder.join("ext"), format!("subjectAltName=DNS:{NAME}\nbasicConstraints=CA:FALSE\n"))
        .unwrap();
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    let mut authority = vec!["req", "-x509", "-sha256", "-days", "2", "-subj", "/CN=test authority"];
    authority.extend(key);
    let (ca, ca_key) = (path("ca.crt"), path("ca.key"));
    authority.extend(["-addext", "keyUsage=critical,keyCertSign,cRLSign", "-out", &ca, "-keyout", &ca_key]);
    openssl(&authority);
    let (request, server_key) = (path("server.csr"), path("server.key"));
    let mut ask = vec!["req", "-subj", "/CN=server", "-out", &request, "-keyout", &server_key];
    ask.extend(key);
    openssl(&ask);
    sign(folder, "server", &["-extfile", &path("ext")]);
    for name in ["server.key", "server.crt"] {
        give(&folder.join(name));
    }
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(folder.join("server.key"), mode).unwrap();
}

/// A client's key `NAME.key` of this kind (arguments of `openssl genpkey`) and certificate `NAME.crt` for the user,
/// in `folder`, made by the authority there. The certificate of `old` is of X.509's version 1.
pub fn client(folder: &Path, name: &str, user: &str, kind: &[&str]) {
    let path = |end: &str| folder.join(format!("{name}.{end}")).display().to_string();
    let (key, request) = (path("key"), path("csr"));
    openssl(&[&["genpkey", "-out", &key][..], kind].concat());
    let subject = format!("/CN={user}");
    openssl(&["req", "-new", "-subj", &subject, "-key", &key, "-out", &request]);
    let ext = folder.join("ext").display().to_string();
    let extended = ["-extfile", ext.as_str()];
    sign(folder, name, if name == "old" { &[] } else { &extended });
}

/// Makes `NAME.crt` of the request `NAME.csr` with the authority in `folder`.
fn sign(folder: &Path, name: &str, more: &[&str]) {
    let path = |name: &str| folder.join(name).display().to_string();
    let (request, made) = (path(&format!("{name}.csr")), path(&format!("{name}.crt")));
    let (ca, ca_key) = (path("ca.crt"), path("ca.key"));
    let mut args =
        vec!["x509", "-req", "-sha256", "-days", "2", "-in", &request, "-CA", &ca, "-CAkey", &ca_key];
    args.extend(["-CAcreateserial", "-out", &made]);
    args.extend(more);
    openssl(&args);
}
