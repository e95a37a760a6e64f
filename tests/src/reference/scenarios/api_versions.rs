//! ApiVersions (18): every version, an unknown one, and client names that are refused.

use anyhow::Result;
use ottla_protocol::ApiKey;
use ottla_protocol::messages::api_versions::ApiVersionsRequest;

use crate::reference::{Play, Scenario};

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::each_version("api_versions/normal", ApiKey::ApiVersions, normal),
        Scenario::once("api_versions/unsupported", 3, unsupported),
    ]
}

fn normal(play: &mut Play) -> Result<()> {
    let named = |name: &str, version: &str| ApiVersionsRequest {
        client_software_name: name.to_owned(),
        client_software_version: version.to_owned(),
    };
    play.step("served", &named("ottla-tests", "1.0"))?;
    play.step("no_client_name", &named("", ""))?;
    play.step("bad_client_name", &named("a b", "1.0"))?;
    play.step("bad_client_version", &named("ottla-tests", "1.0 beta!"))?;
    Ok(())
}

fn unsupported(play: &mut Play) -> Result<()> {
    // The body of version 127 is anybody's guess: the one of version 3 is sent.
    let body = b"\x0cottla-tests\x041.0\x00";
    play.raw_step::<ApiVersionsRequest>("version_127", 127, body)?;
    play.raw_step::<ApiVersionsRequest>("version_5", 5, body)?;
    play.raw_step::<ApiVersionsRequest>("version_minus_1", -1, body)?;
    play.step("the_connection_goes_on", &ApiVersionsRequest::default())?;
    Ok(())
}
