//! Tests of the classification: a table of single cases, and every kind in every partition.

use super::EndpointKind as K;
use super::*;

const REST: &str = "us-east-2.rds.amazonaws.com";

#[test]
fn single_names() {
    let cases: &[(&str, K, Option<&str>, Option<&str>)] = &[
        ("db.cluster-xyz.us-east-2.rds.amazonaws.com", K::WriterCluster, Some("db"), Some("us-east-2")),
        ("DB.Cluster-XYZ.US-East-2.rds.AmazonAWS.com.", K::WriterCluster, Some("db"), Some("us-east-2")),
        ("db.cluster-xyz.us-east-2.rds.amazonaws.com:5432", K::WriterCluster, Some("db"), Some("us-east-2")),
        ("a.b.xyz.us-east-2.rds.amazonaws.com", K::Instance, Some("a.b"), Some("us-east-2")),
        ("p.endpoint.proxy-xyz.us-east-2.rds.amazonaws.com", K::ProxyEndpoint, Some("p"), Some("us-east-2")),
        // An instance that is called `endpoint` is an instance, a proxy that is called so is a proxy.
        ("endpoint.xyz.us-east-2.rds.amazonaws.com", K::Instance, Some("endpoint"), Some("us-east-2")),
        ("endpoint.proxy-xyz.us-east-2.rds.amazonaws.com", K::Proxy, Some("endpoint"), Some("us-east-2")),
        ("g.global-xyz.global.rds.amazonaws.com", K::GlobalWriter, Some("g"), None),
        ("lb-1.elb.us-east-2.amazonaws.com", K::Other, None, Some("us-east-2")),
        ("lb-1.us-east-2.elb.amazonaws.com", K::Other, None, Some("us-east-2")),
        ("127.0.0.1", K::Ip, None, None),
        ("10.0.0.1:5432", K::Ip, None, None),
        ("::1", K::Ip, None, None),
        ("[2001:db8::7]:5432", K::Ip, None, None),
        ("[fe80::1%eth0]", K::Ip, None, None),
        ("::ffff:10.0.0.1", K::Ip, None, None),
        ("", K::Other, None, None),
        (".", K::Other, None, None),
        ("localhost", K::Other, None, None),
        ("/var/run/postgresql", K::Other, None, None),
        ("db.example.com", K::Other, None, None),
        ("rds.amazonaws.com", K::Other, None, None),
        ("xyz.us-east-2.rds.amazonaws.com", K::Other, None, None),
        (".xyz.us-east-2.rds.amazonaws.com", K::Other, None, None),
        ("a..xyz.us-east-2.rds.amazonaws.com", K::Other, None, None),
        ("db.cluster-.us-east-2.rds.amazonaws.com", K::Other, None, None),
        ("db.cluster-other-xyz.us-east-2.rds.amazonaws.com", K::Other, None, None),
        ("db.xyz.global.rds.amazonaws.com", K::Other, None, None),
        ("db.global-xyz.us-east-2.rds.amazonaws.com", K::Other, None, None),
        ("db.xyz.us-east-2.rds.amazonaws.com.evil.example", K::Other, None, None),
        ("db.xyz.us-east-2.rds.notamazonaws.com", K::Other, None, None),
        ("db.xyz.us-east-2.rdsx.amazonaws.com", K::Other, None, None),
    ];
    for (text, kind, name, region) in cases {
        let host = classify(text);
        assert_eq!((host.kind(), host.name(), host.region()), (*kind, *name, *region), "{text}");
    }
}

/// Every kind, in every partition and order of labels, in both cases, with and without a trailing dot and a port.
#[test]
fn every_kind_in_every_partition() {
    let kinds: &[(&str, K)] = &[
        ("", K::Instance),
        ("cluster-", K::WriterCluster),
        ("cluster-ro-", K::ReaderCluster),
        ("cluster-custom-", K::CustomCluster),
        ("proxy-", K::Proxy),
        ("shardgrp-", K::LimitlessShardGroup),
    ];
    let places: &[(&str, &[&str], Partition)] = &[
        (
            "amazonaws.com",
            &["us-east-2", "ap-southeast-5", "il-central-1", "mx-central-1"],
            Partition::Commercial,
        ),
        ("amazonaws.com", &["us-gov-west-1", "us-gov-east-1"], Partition::GovCloud),
        ("amazonaws.com.cn", &["cn-north-1", "cn-northwest-1"], Partition::China),
        ("amazonaws.eu", &["eusc-de-east-1"], Partition::Sovereign),
        ("amazonaws.au", &["ap-southeast-2"], Partition::Sovereign),
        ("amazonaws.uk", &["eu-west-2"], Partition::Sovereign),
        ("c2s.ic.gov", &["us-iso-east-1", "us-iso-west-1"], Partition::Iso),
        ("sc2s.sgov.gov", &["us-isob-east-1"], Partition::IsoB),
    ];
    let mut checked = 0;
    for (prefix, kind) in kinds {
        for (domain, regions, partition) in places {
            for region in *regions {
                for service in ["rds", "rds-fips"] {
                    for place in [format!("{region}.{service}"), format!("{service}.{region}")] {
                        let name = format!("my-db1.{prefix}c1a2b3.{place}.{domain}");
                        for text in [
                            name.clone(),
                            name.to_ascii_uppercase(),
                            format!("{name}."),
                            format!("{name}:3306"),
                        ] {
                            let host = classify(&text);
                            assert_eq!(host.kind(), *kind, "{text}");
                            assert_eq!(host.host(), name, "{text}");
                            assert_eq!(host.name(), Some("my-db1"), "{text}");
                            assert_eq!(host.cluster_hash(), Some("c1a2b3"), "{text}");
                            assert_eq!(host.region(), Some(*region), "{text}");
                            assert_eq!(host.partition(), Some(*partition), "{text}");
                            let suffix = format!("{place}.{domain}");
                            assert_eq!(host.suffix(), Some(suffix.as_str()), "{text}");
                            let template = host.instance_template().map(|template| template.host_for("i-1"));
                            let expected = (!host.is_proxy()).then(|| format!("i-1.c1a2b3.{suffix}"));
                            assert_eq!(template, expected, "{text}");
                            checked += 1;
                        }
                    }
                }
            }
        }
    }
    assert_eq!(checked, 6 * 14 * 2 * 2 * 4);
}

#[test]
fn a_derived_instance_name_is_an_instance_of_the_same_place() {
    for prefix in ["cluster-", "cluster-ro-", "cluster-custom-", ""] {
        let host = classify(&format!("db.{prefix}xyz.rds.cn-north-1.amazonaws.com.cn"));
        let instance = classify(&host.instance_template().unwrap().host_for("instance-1"));
        assert_eq!(instance.kind(), K::Instance);
        assert_eq!(instance.instance_id(), Some("instance-1"));
        assert_eq!((instance.cluster_hash(), instance.suffix()), (host.cluster_hash(), host.suffix()));
    }
}

#[test]
fn the_cluster_of_a_name() {
    for (prefix, cluster, writer) in [
        ("cluster-", Some("db"), true),
        ("cluster-ro-", Some("db"), true),
        ("cluster-custom-", None, false),
        ("shardgrp-", Some("db"), false),
        ("proxy-", None, false),
        ("", None, false),
    ] {
        let host = classify(&format!("db.{prefix}xyz.{REST}"));
        assert_eq!(host.cluster_name(), cluster, "{prefix}");
        let expected = writer.then(|| format!("db.cluster-xyz.{REST}"));
        assert_eq!(host.writer_cluster_host(), expected, "{prefix}");
    }
    assert!(classify("g.global-xyz.global.rds.amazonaws.com").is_writer_endpoint());
    assert!(classify(&format!("p.endpoint.proxy-xyz.{REST}")).is_proxy());
    assert!(!classify("lb.elb.us-east-2.amazonaws.com").is_rds());
}

#[test]
fn sides_of_a_blue_green_deployment() {
    for (name, side, plain) in [
        ("db-green-abc123", BlueGreen::Green, "db"),
        ("db-old1", BlueGreen::Old, "db"),
        ("db", BlueGreen::Blue, "db"),
        ("db-green-abc12", BlueGreen::Blue, "db-green-abc12"),
        ("db-green-abc1234", BlueGreen::Blue, "db-green-abc1234"),
        ("green-abc123", BlueGreen::Blue, "green-abc123"),
        ("db-old2", BlueGreen::Blue, "db-old2"),
        ("a-green-db-green-abc123", BlueGreen::Green, "a-green-db"),
    ] {
        assert_eq!(BlueGreen::of(name), side, "{name}");
        for rest in [format!(".cluster-xyz.{REST}"), format!(".xyz.{REST}"), ".example.com".to_owned()] {
            let host = classify(&format!("{name}{rest}"));
            assert_eq!(host.blue_green(), side, "{name}{rest}");
            assert_eq!(host.without_blue_green(), format!("{plain}{rest}"));
        }
    }
    assert_eq!(classify("10.0.0.1").without_blue_green(), "10.0.0.1");
}
