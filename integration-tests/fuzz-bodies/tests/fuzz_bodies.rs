//! The bodies of the fuzz targets as property tests: over any bytes, and over inputs that are nearly right.

use fuzz_bodies::{PASSWORD, host_name, settings, status_tap, topology_rows, without_the_password};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use wrapper_core::config::DEFINITIONS;

/// Names made of the pieces of RDS host names.
fn hosts() -> impl Strategy<Value = String> {
    let piece = select(vec![
        "db",
        "Instance-1",
        "cluster-xyz",
        "cluster-ro-xyz",
        "cluster-custom-xyz",
        "proxy-xyz",
        "global-xyz",
        "shardgrp-xyz",
        "xyz",
        "endpoint",
        "global",
        "us-east-2",
        "us-gov-west-1",
        "cn-north-1",
        "rds",
        "rds-fips",
        "amazonaws",
        "com",
        "cn",
        "eu",
        "db-green-abc123",
        "db-old1",
        "",
        "-",
        "?",
        "example",
        "10",
        "[::1]",
        "elb",
    ]);
    (vec(piece, 1..9), "(:[0-9]{0,6})?\\.?").prop_map(|(pieces, tail)| pieces.join(".") + &tail)
}

/// Values that fit some setting.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        "[0-9]{1,5}(ms|s|m|h)?",
        select(vec![
            "true",
            "off",
            "0",
            "none",
            "strict_writer",
            "reader_or_writer",
            "writer",
            "any",
            "failover,efm",
            "failover2",
            "random",
            "round_robin",
            "aurora-pg",
            "a:1,b:2",
            "?.example.com",
            "'",
            "\\",
            "%41",
            "",
            "D0",
            "x y",
        ])
        .prop_map(str::to_owned),
        "[ -~]{0,12}",
    ]
}

/// Names of settings in all their spellings, and some that are none.
fn name() -> impl Strategy<Value = String> {
    let mut names: Vec<String> =
        ["user", "password", "host", "port", "dbname", "sslmode", "no_such_setting", "iamRegion"]
            .map(str::to_owned)
            .to_vec();
    for definition in DEFINITIONS {
        names.push(definition.name().to_owned());
        names.extend(definition.aliases().map(str::to_owned));
        names.push(format!("{}_ms", definition.name()));
    }
    select(names)
}

/// A setting and a value; most of the time one of the kind that it takes.
fn pair() -> impl Strategy<Value = (String, String)> {
    let fitting = select(DEFINITIONS).prop_flat_map(|definition| {
        let value = match definition.kind() {
            "duration" => "[1-9][0-9]{0,3}(ms|s|m)".boxed(),
            "true or false" => "true|false|on|0".boxed(),
            "number" => "[1-9][0-9]{0,8}".boxed(),
            "list of host:weight" => "[a-c]:[1-9],[d-f]\\.x:[1-9]".boxed(),
            "host pattern" => "\\?\\.[a-z]{1,5}\\.com(:[1-9]{4})?".boxed(),
            "list of plugins" => "failover|efm,failover_v2|none|initialConnection,mine".boxed(),
            _ => value().boxed(),
        };
        (Just(definition.name().to_owned()), value)
    });
    prop_oneof![3 => fitting, 1 => (name(), value())]
}

fn url(pairs: &[(String, String)], user: &str, host: &str) -> String {
    let pairs: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
    format!("postgres://{user}{host}/shop?{}", pairs.join("&"))
}

fn keys(pairs: &[(String, String)]) -> String {
    let quoted = |value: &str| format!("'{}'", value.replace('\\', "\\\\").replace('\'', "\\'"));
    pairs.iter().map(|(name, value)| format!(" {name}={}", quoted(value))).collect()
}

fn cell() -> impl Strategy<Value = String> {
    prop_oneof![
        select(vec![
            "\\N",
            "t",
            "f",
            "1",
            "0",
            "instance-1",
            "Instance-1",
            "instance-2",
            "db-1",
            "5432",
            "1e300",
            "NaN",
            "-1",
            "a.b"
        ])
        .prop_map(str::to_owned),
        "[ -+\\--~]{0,8}",
    ]
}

/// A piece of what passes a connection, as the body reads it.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let body = prop_oneof![
        vec(any::<u8>(), 0..12),
        select(vec![
            &b"QBEGIN\0"[..],
            b"QCOMMIT\0",
            b"QSELECT 1; ROLLBACK\0",
            b"Q/* BEGIN */ SELECT 1\0",
            b"ZI",
            b"ZT",
            b"ZE",
            b"CBEGIN\0",
            b"CCOMMIT\0",
            b"CROLLBACK\0",
            b"CINSERT 0 1\0",
            b"S",
            b"Ps0\0BEGIN\0\0\0",
            b"B\0s0\0\0\0\0\0\0\0",
            b"E\0\0\0\0\0",
            b"H",
            b"X",
            b"c",
            b"d1\n",
            b"fno\0",
            b"G\0\0\0",
            b"SERROR\0",
            b"ESERROR\0C22012\0\0",
            b"STimeZone\0UTC\0",
            b"R\0\0\0\0",
            b"DTTT",
            b"1",
            b"2",
            b"n",
            b"Ds0\0",
        ])
        .prop_map(<[u8]>::to_vec),
    ];
    (any::<u8>(), body).prop_map(|(head, body)| {
        let length = u8::try_from(body.len()).unwrap_or(u8::MAX);
        // Framed three times out of four.
        let head = if head & 0x30 != 0 { head | 2 } else { head };
        [&[head, length][..], &body].concat()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn host_names_hold_together(text in prop_oneof![hosts(), ".{0,60}"]) {
        host_name(text.as_bytes());
    }

    #[test]
    fn settings_in_urls_hold_together(pairs in vec(pair(), 0..4), host in hosts()) {
        settings(url(&pairs, "app:x@", &host).as_bytes());
    }

    #[test]
    fn settings_in_connection_strings_hold_together(pairs in vec(pair(), 0..4), host in hosts()) {
        settings(format!("host={host}{}", keys(&pairs)).as_bytes());
    }

    #[test]
    fn any_text_may_be_given_as_settings(text in prop_oneof![".{0,60}", "host=h[ -~]{0,40}", "postgres://[ -~]{0,40}"]) {
        settings(text.as_bytes());
    }

    #[test]
    fn a_password_is_shown_nowhere(mut pairs in vec(pair(), 0..4), host in hosts()) {
        // After `host=` and a blank, as libpq reads it, `password=…` is the host.
        prop_assume!(!host.is_empty());
        without_the_password(&url(&pairs, &format!("app:{PASSWORD}@"), &host));
        pairs.push(("password".to_owned(), PASSWORD.to_owned()));
        without_the_password(&url(&pairs, "", &host));
        without_the_password(&format!("host={host}{}", keys(&pairs)));
    }

    #[test]
    fn answers_of_servers_hold_together(
        (head, rows) in select(vec![
            "a:server_id,is_writer,cpu,lag_ms,updated", "m:id,endpoint,port,own_id,source_id,in_recovery",
            "a:in_recovery,own_id,writer_id,hosts", "m:in_recovery,own_id,source_id", "a:", "m:endpoint,ID,id",
            "A:server_id,is_writer,cpu,lag_ms,updated", "A:is_read_only,own_id,writer_id,hosts",
            "M:id,endpoint,port,own_id,is_read_only,Source_Server_Id", "M:is_read_only,own_id",
        ]).prop_flat_map(|head| (Just(head), vec(vec(cell(), 0..7), 0..6)))
    ) {
        let rows: Vec<String> = rows.iter().map(|row| row.join(",")).collect();
        topology_rows(format!("{head}\n{}", rows.join("\n")).as_bytes());
    }

    #[test]
    fn any_text_may_be_an_answer(text in ".{0,80}") {
        topology_rows(text.as_bytes());
    }

    #[test]
    fn wherever_the_bytes_are_split_the_tap_knows_the_same(how in any::<u8>(), pieces in vec(piece(), 0..40)) {
        // With a start-up first, three times out of four.
        let how = if how & 0x60 != 0 { how | 0x80 } else { how };
        status_tap(&[&[how][..], &pieces.concat()].concat());
    }

    #[test]
    fn any_bytes_may_pass_the_tap(data in vec(any::<u8>(), 0..200)) {
        status_tap(&data);
    }
}
