//! A run between two machines, each of which records itself.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result};
use clap::ValueEnum as _;

use super::{
    Built, Measured,
    cleanup::Lab,
    enter,
    network::Recorder,
    programs::Load,
    tier,
    traffic::{Driven, start_server},
};
use crate::{
    choices::Workload,
    cli::LabRunArgs,
    host::signal,
    profile::{self, Profile},
};

/// For a recording to come over the machine's serial port.
const COMES_WITHIN: Duration = Duration::from_secs(120);

/// Drives the traffic while both machines record; the client's recording and the server's.
pub(super) async fn measure(
    workload: &'static Workload,
    args: &LabRunArgs,
    lab: &Lab,
    built: &Built,
    load: Load,
    [client, server]: [&dyn Recorder; 2],
) -> Result<Measured> {
    let network = &built.network;
    server.record_next(options(args));
    let serving = start_server(workload, args, lab, network, args.duration).await?;
    signal::check()?;
    client.record_next(options(args));
    let mut driven = serving.drive(args, lab, network, load).await?;
    driven.benchmark.creation = Some(built.creation);
    let mut both = Vec::new();
    for (recorder, side) in [(client, "client"), (server, "server")] {
        both.push(
            fetch(recorder, lab, &driven).await.with_context(|| format!("the recording of the {side}'s machine"))?,
        );
    }
    let server = both.pop();
    Ok(Measured { driven, profile: both.pop(), server })
}

/// How a machine records: as this one would.
fn options(args: &LabRunArgs) -> Vec<String> {
    let budget = args.budget.unwrap_or(args.clock.default_budget());
    let mut options = vec!["--budget".to_owned(), format!("{}%", budget * 100.0)];
    options.extend(["--frequency".to_owned(), args.frequency.unwrap_or(args.clock.default_frequency()).to_string()]);
    if let Some(every) = args.sample_every {
        options.extend(["--sample-every".to_owned(), every.to_string()]);
    }
    if let Some(tier) = tier(args).to_possible_value() {
        options.extend(["--tier".to_owned(), tier.get_name().to_owned()]);
    }
    options
}

/// The last recording of a machine.
async fn fetch(recorder: &dyn Recorder, lab: &Lab, driven: &Driven) -> Result<Profile> {
    let said = recorder.recorded(lab)?.finish(COMES_WITHIN, true).await?;
    let file = lab.directory().join("recording");
    fs::write(&file, decode(&said).context("it is garbled")?)?;
    let read = profile::read(&file);
    fs::remove_file(&file)?;
    let mut profile = read?;
    enter(&mut profile, driven);
    Ok(profile)
}

/// What a text in base 64 says; lines may be broken anywhere.
fn decode(text: &str) -> Option<Vec<u8>> {
    let letters = text.bytes().filter(|letter| !letter.is_ascii_whitespace() && *letter != b'=');
    let (mut bytes, mut bits, mut held) = (Vec::new(), 0_u32, 0);
    for letter in letters {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
            bits &= (1 << held) - 1;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_64_is_read_across_lines() {
        assert_eq!(decode("TkVU\nU1RS\nQVQ=\n").as_deref(), Some(&b"NETSTRAT"[..]));
        assert_eq!(decode("/+8=").as_deref(), Some(&[0xff, 0xef][..]));
        assert_eq!(decode("=error"), None.or(decode("error")));
        assert_eq!(decode("a-b"), None);
    }

    #[test]
    fn a_machine_records_as_this_one_would() {
        let words = options(&LabRunArgs { sample_every: Some(4), ..LabRunArgs::default() }).join(" ");
        assert!(words.contains("--budget 1%") && words.ends_with("--sample-every 4 --tier auto"), "{words}");
    }
}
