//! Goal: `docs/protocol-support.md` tells what is so. Method: its tables are held against the codec's versions, against what a running
//! broker says in ApiVersions, and against the list of differences.

use std::collections::BTreeMap;
use std::path::Path;

use ottla_protocol::ApiKey;
use ottla_protocol::messages::api_versions::ApiVersionsRequest;
use ottla_tests::connection::RawConnection;
use ottla_tests::in_process::InProcessBroker;
use ottla_tests::reference::differences::DIFFERENCES;

/// The page's text between two markers.
fn section(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/protocol-support.md");
    let page = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let (_, rest) = page.split_once(&format!("<!-- {name} -->\n")).unwrap_or_else(|| panic!("no {name} in the page"));
    let (section, _) = rest.split_once("<!-- end -->").unwrap_or_else(|| panic!("{name} has no end in the page"));
    section.to_owned()
}

/// A table's rows without its head, as cells.
fn rows(section: &str) -> Vec<Vec<&str>> {
    let lines = section.lines().filter(|line| line.starts_with('|')).skip(2);
    lines.map(|line| line.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

#[test]
fn the_page_lists_what_the_broker_serves() {
    let broker = InProcessBroker::start(&[]).unwrap();
    let mut connection = RawConnection::open(broker.address()).unwrap();
    let response = connection.ask(0, &ApiVersionsRequest::default()).unwrap();
    let served: BTreeMap<i16, (i16, i16)> =
        response.api_keys.iter().map(|api| (api.api_key, (api.min_version, api.max_version))).collect();
    let mut listed = BTreeMap::new();
    let section = section("apis");
    for row in rows(&section) {
        let key: i16 = row[0].parse().unwrap();
        let (first, last) = row[2].split_once('-').unwrap_or((row[2], row[2]));
        let versions: (i16, i16) = (first.parse().unwrap(), last.parse().unwrap());
        let api = ApiKey::from_i16(key).unwrap_or_else(|| panic!("the page lists the unknown key {key}"));
        assert_eq!(row[1], api.name(), "key {key}");
        assert_eq!(api.versions(), versions.0..=versions.1, "{api}");
        // Produce is advertised from 0 on, for the sake of librdkafka, and served from 3 on.
        let advertised = if api == ApiKey::Produce { (0, versions.1) } else { versions };
        listed.insert(key, advertised);
    }
    assert_eq!(listed, served);
    broker.stop().unwrap();
}

#[test]
fn the_page_explains_every_difference() {
    let section = section("differences");
    let shown: Vec<&str> = section.lines().filter(|line| line.starts_with('|')).skip(2).collect();
    let expected: Vec<String> = DIFFERENCES.iter().map(|difference| difference.row()).collect();
    assert_eq!(shown, expected, "the rows should be:\n{}\n", expected.join("\n"));
}
