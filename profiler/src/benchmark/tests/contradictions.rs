//! Outputs that contradict themselves, and files that are of something else: no figure, and a note.

use std::time::{Duration, SystemTime};

use super::*;

#[test]
fn outputs_that_contradict_themselves_are_no_figures() {
    let (iperf3, pp, ping, wrk) = ("iperf3 -c A -J", "sockperf pp --tcp -i A", "ping -c 3 A", "wrk --latency http://A");
    let tcp = "sockperf/3.7-pp-tcp.txt";
    for (command, output, why) in [
        (iperf3, with("iperf3/3.21-tcp.json", "/end/sum_sent/bytes", 1e6.into()), "more bytes were received"),
        (iperf3, with("iperf3/3.21-tcp.json", "/start/test_start/num_streams", 2.into()), "1 streams"),
        (iperf3, with("iperf3/3.17.1-P2.json", "/start/test_start/num_streams", 1.into()), "2 streams"),
        (iperf3, with("iperf3/3.17.1-P2.json", "/end/streams/0/receiver/bytes", 1e6.into()), "streams contradict"),
        (iperf3, with("iperf3/3.9-udp-P2.json", "/start/test_start/num_streams", 3.into()), "2 streams"),
        (pp, changed(tcp, "SentMessages=99281; Rec", "SentMessages=9928; Rec"), "contradict"),
        (pp, changed(tcp, "ReceivedMessages=99281", "ReceivedMessages=98"), "contradict"),
        (pp, changed(tcp, "RunTime=0.550", "RunTime=5.500"), "contradict"),
        (pp, changed(tcp, "Total 99281 obs", "Total 5 obs"), "contradict"),
    ] {
        let found = reading(command, &output);
        assert_eq!(found.benchmark, None, "{command}: {why}");
        assert!(found.notes[0].contains(why), "{why}: {found:?}");
    }
    let answers = text("ping/20221126-plain.txt");
    let counts = answers.lines().find(|line| line.contains(" received")).unwrap();
    let received = counts.split(", ").nth(1).unwrap();
    let more = reading(ping, &answers.replace(received, "9999 received"));
    assert!(more.benchmark.is_none() && more.notes[0].contains("contradict"), "{more:?}");
    // A mean round trip of a minute, with thousands of answers a second.
    let slow = text("wrk/4.1.0-plain.txt");
    let latency = slow.lines().find(|line| line.trim_start().starts_with("Latency  ")).unwrap();
    let slow = slow.replace(latency, "    Latency     1.00m     1.00s    1.10m    90.00%");
    let slow = reading(wrk, &slow);
    assert_eq!(slow.benchmark.as_ref().and_then(|found| found.transactions_per_s), None);
    assert!(slow.notes.iter().any(|note| note.contains("contradict each other")), "{slow:?}");
}

#[test]
fn an_object_that_breaks_off_behind_a_whole_one_is_told() {
    let whole = text("iperf3/3.21-tcp.json");
    let other = whole.replace("\"cookie\":\t\"", "\"cookie\":\t\"other");
    let line = format!("{}\n", serde_json::from_str::<Value>(&other).unwrap());
    for next in [&other, &line] {
        for end in [1, 2, 20, next.len() / 2, next.len() - 3] {
            let found = reading("iperf3 -c A -J", &format!("{whole}{}", &next[..end]));
            assert!(found.benchmark.is_none() && !found.notes.is_empty(), "{end}: {found:?}");
        }
    }
}

#[test]
fn seconds_that_no_figure_is_of_are_known() {
    let of = |command: &str, name: &str| {
        let found = reading(command, &text(name)).benchmark.unwrap();
        (found.unmeasured_s, found.ran_s().map(|seconds| (seconds * 10.0).round() / 10.0))
    };
    assert_eq!(of("iperf3 -c A -J -O 1 -t 1", "iperf3/3.21-O.json"), (Some(1.0), Some(2.0)));
    assert_eq!(of("iperf3 -c A -J", "iperf3/3.21-tcp.json"), (None, Some(1.0)));
    let (besides, ran) = of("sockperf pp --tcp -i A", "sockperf/3.7-pp-tcp.txt");
    assert!((besides.unwrap() - 0.45).abs() < 1e-9 && ran == Some(1.0));
}

/// Seconds since 1970.
fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

#[test]
fn a_file_of_another_run_or_tool_is_no_figure() {
    let file = std::env::temp_dir().join(format!("netstrata-another-{}", std::process::id()));
    let now = SystemTime::now();
    let dated = |time: SystemTime| with("iperf3/3.21-tcp.json", "/start/timestamp/timesecs", seconds(time).into());
    std::fs::write(&file, dated(now)).unwrap();
    let written = file.metadata().unwrap().modified().unwrap();
    let recorded = |since: SystemTime, seconds| Recorded { since, seconds };
    let right = reading("iperf3 -c A -J", &text("iperf3/3.21-tcp.json")).benchmark;
    let elsewhere = words("ssh A sleep 1");
    let found = read_file(&elsewhere, &file, recorded(written, 1.0));
    assert!(found.benchmark == right && found.notes.is_empty(), "{found:?}");
    let short = read_file(&elsewhere, &file, recorded(written, 0.3));
    assert!(short.benchmark == right && short.notes[0].contains("was not recorded"), "{short:?}");
    for (command, since, why) in [
        ("ssh A sleep 1", written + Duration::from_secs(3), "before the recording began"),
        ("sockperf pp -i A", written, "runs sockperf"),
    ] {
        let found = read_file(&words(command), &file, recorded(since, 1.0));
        assert!(found.benchmark.is_none() && found.notes[0].contains(why), "{found:?}");
    }
    // Written now, and measured at another time.
    let day = Duration::from_secs(86_400);
    let fortio = changed("fortio/1.60-http.json", "2024-03-01T10:00:00", "2124-03-01T10:00:00");
    for (output, why) in [
        (dated(now - day), "own clock it was over before the recording began"),
        (dated(now + day), "own clock it began in the future"),
        (text("fortio/1.60-http.json"), "own clock it was over before the recording began"),
        (fortio, "own clock it began in the future"),
        (format!("{}{}", dated(now), text("wrk/4.1.0-plain.txt")), "output of wrk too"),
        (
            format!("{}{}", text("netperf/2.7.0-tcp_stream.txt"), text("sockperf/3.7-pp-tcp.txt")),
            "output of netperf too",
        ),
    ] {
        std::fs::write(&file, output).unwrap();
        let found = read_file(&elsewhere, &file, recorded(now, 1.0));
        assert!(found.benchmark.is_none() && found.notes[0].contains(why), "{why}: {found:?}");
    }
    std::fs::remove_file(&file).unwrap();
}

#[test]
fn the_times_of_files_are_believed_as_far_as_they_tell() {
    let name = std::env::temp_dir().join(format!("netstrata-written-{}", std::process::id()));
    std::fs::write(&name, text("iperf3/3.21-tcp.json")).unwrap();
    let second = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let note = |written: SystemTime, since: SystemTime| {
        std::fs::File::options().write(true).open(&name).and_then(|file| file.set_modified(written)).unwrap();
        read_file(&words("ssh A sleep 1"), &name, Recorded { since, seconds: 1.0 }).notes.pop().unwrap_or_default()
    };
    let fine = Duration::from_millis(10);
    // A file system that counts in seconds has rounded; another has not.
    assert_eq!(note(second, second + Duration::from_millis(900)), "");
    assert!(note(second + fine, second + Duration::from_millis(900)).contains("before the recording began"));
    assert!(note(SystemTime::now() + Duration::from_secs(60), second).contains("in the future"));
    std::fs::remove_file(&name).unwrap();
}
