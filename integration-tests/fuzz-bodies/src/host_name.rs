//! Host names.

use wrapper_core::host::{EndpointKind, InstanceTemplate, classify};

/// Takes a host name apart and puts its parts together again.
pub fn host_name(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let host = classify(&text);
    assert_eq!(host, classify(&text), "the same name, the same answer");
    assert!(host.host().len() <= text.len() * 3, "nothing is added");
    if let Some(name) = host.name() {
        assert!(host.host().starts_with(name), "{name} in {host:?}");
    }
    if host.is_rds() {
        assert_eq!(classify(host.host()), host, "a name taken apart is taken apart the same way again");
        assert_eq!(host.host(), host.host().to_ascii_lowercase());
        let shouted = classify(&host.host().to_ascii_uppercase());
        assert_eq!(shouted, host, "case does not matter");
    }
    if let Some(writer) = host.writer_cluster_host() {
        let writer = classify(&writer);
        assert_eq!(writer.kind(), EndpointKind::WriterCluster, "{writer:?} of {host:?}");
        assert_eq!((writer.name(), writer.cluster_hash()), (host.name(), host.cluster_hash()));
        assert_eq!((writer.region(), writer.partition()), (host.region(), host.partition()));
    }
    if let Some(template) = host.instance_template() {
        let instance = classify(&template.host_for("instance-1"));
        assert_eq!(instance.kind(), EndpointKind::Instance, "{instance:?} of {host:?}");
        assert_eq!(instance.instance_id(), Some("instance-1"));
        assert_eq!((instance.cluster_hash(), instance.region()), (host.cluster_hash(), host.region()));
    }
    let plain = host.without_blue_green();
    assert!(plain.len() <= host.host().len(), "{plain} of {host:?}");
    if let Ok(template) = InstanceTemplate::parse(&text) {
        let again = InstanceTemplate::parse(&template.to_string()).expect("a template can be read again");
        assert_eq!(again.to_string(), template.to_string());
        assert!(template.host_for("instance-1").contains("instance-1"));
    }
}
