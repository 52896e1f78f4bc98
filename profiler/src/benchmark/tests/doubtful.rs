//! Commands and outputs that could be read in several ways: what is certain is a figure, and the rest a note.

use super::*;

const STREAM: &str = "MIGRATED TCP STREAM TEST from 0.0.0.0 (0.0.0.0) port 0 AF_INET to 10.0.0.2 () port 0 AF_INET\nRecv   \
                      Send    Send\nSocket Socket  Message  Elapsed\nSize   Size    Size     Time     Throughput\nbytes  bytes   \
                      bytes    secs.    10^6bits/sec\n\n131072  16384  16384    10.00    9412.33\n";
const REQUESTS: &str = "MIGRATED TCP REQUEST/RESPONSE TEST from 0.0.0.0 (0.0.0.0) port 0 AF_INET to 10.0.0.2 () port 0 AF_INET \
                        : first burst 0\n";
const BITS: f64 = 9412.33e6;

/// No figure, and a note with these words; none at all where they are none.
fn refused(cases: &[(&str, &str, &str)]) {
    for (command, output, why) in cases {
        let found = reading(command, output);
        assert_eq!(found.benchmark, None, "{command}: {output}");
        match found.notes.first() {
            Some(note) => assert!(!why.is_empty() && note.contains(why), "{command}: {note}, not {why}"),
            None => assert!(why.is_empty(), "{command}: no note of {why}"),
        }
    }
}

/// Throughput or rate of transactions.
fn main_figure(found: &Reading) -> Option<f64> {
    found.benchmark.as_ref().and_then(|found| found.throughput_bits_per_s.or(found.transactions_per_s))
}

fn read_as(cases: &[(&str, &str, f64)]) {
    for (command, output, figure) in cases {
        let found = reading(command, output);
        let told = main_figure(&found).unwrap_or(-1.0);
        assert!((told - figure).abs() < 1e-6 * figure, "{command}: {told}, not {figure}: {found:?}");
    }
}

#[test]
fn a_number_alone_is_netperfs_only_where_it_prints_one() {
    let why = "with -v 0 only";
    refused(&[
        ("sh -c 'netperf -H x -P 0 | awk \"{print $4}\"'", "10.00\n", why),
        ("sh -c 'netperf -H x -P 0 | tail -1'", "10.00\n", why),
        ("netperf", "9412.33\n", why),
        ("netperf -t TCP_RR -H x -P 0", "10.00\n", why),
        ("netperf -H x -P 0 -v 0 -c", "12.30\n", "with -c or -C"),
        ("netperf -H x -P 0 -v 0", "131072\n", "not written as netperf"),
        ("netperf -H x -P 0", "1 2 3 4 5\n", "not written as netperf"),
        ("netperf -H x -P 0", "9412.33 10.00 16384 16384 131072\n", "not written as netperf"),
        ("grep netperf -c FILE", "14\n", ""),
        ("kubectl exec netperf -it -- ./bench.sh", "42\n", ""),
        ("docker logs netperf --tail 1", "9412.33\n", ""),
    ]);
    read_as(&[
        ("netperf -H x -P 0 -v 0", "9412.33\n", BITS),
        ("sh -c 'netperf -H x -P 0 -v 0 | tee log'", "9412.33\n", BITS),
        ("netperf -H x -P 0", "131072  16384  16384    10.00    9412.33\n", BITS),
    ]);
}

#[test]
fn options_that_a_shell_fills_in_are_not_known() {
    let test = "not all of its options are known";
    refused(&[
        ("sh -c 'netperf -H 10.0.0.2 $OPTS'", "25000.00\n", test),
        ("sh -c 'netperf \"$@\"' _ -t TCP_RR -P 0 -v 0", "25000.00\n", test),
        ("sh -c 'netperf -H x ${T:+-t $T} -P 0 -v 0'", "25000.00\n", test),
        ("sh -c 'netperf -H x -P 0 -v 0 $(cat options)'", "25000.00\n", test),
        ("sh -c 'netperf -t TCP_STREAM -P 0 -v 0 -f $UNIT'", "9.41\n", "not known"),
        // An image may begin with words of its own.
        ("docker run a/netperf -H x -P 0 -v 0", "25000.00\n", test),
    ]);
    read_as(&[
        ("sh -c 'netperf -H $HOST'", STREAM, BITS),
        ("sh -c 'netperf -H \"$HOST\" -P 0 -v 0'", "9412.33\n", BITS),
        ("netperf -H $HOST -P 0 -v 0", "9412.33\n", BITS),
        ("docker run a/netperf -H x", STREAM, BITS),
        ("docker run a/other netperf -H x -P 0 -v 0", "9412.33\n", BITS),
    ]);
    let hey = text("hey/0.1.4-plain.txt");
    let pairs = |command: &str| reading(command, &hey).benchmark.unwrap().pairs;
    assert_eq!(pairs("sh -c 'hey $OPTS http://x'"), None);
    assert_eq!(pairs("hey http://x"), Some(50));
    let pp = text("sockperf/3.7-pp-udp.txt");
    let bytes = |command: &str| reading(command, &pp).benchmark.unwrap().message_bytes;
    assert_eq!(bytes("sh -c 'sockperf $MODE -i x $OPTS'"), None);
    assert_eq!(bytes("sockperf pp -i x"), Some(14));
    let quick = "SET: 1000000.00 requests per second, p50=0.215 msec\n";
    let median = |command: &str| reading(command, quick).benchmark.unwrap().round_trip_p50_ns;
    assert_eq!(median("sh -c 'redis-benchmark $OPTS -q'"), None);
    assert_eq!(median("redis-benchmark -q"), Some(215e3));
    assert_eq!(median("redis-benchmark -q set -P 16"), Some(215e3));
    assert_eq!(read_text(&[], quick).unwrap().benchmark.unwrap().round_trip_p50_ns, None);
}

#[test]
fn the_last_of_an_option_counts() {
    read_as(&[
        ("netperf -t TCP_STREAM -t TCP_RR -P 0 -v 0", "25000.00\n", 25000.0),
        ("netperf -Njt TCP_RR -P 0 -v 0", "25000.00\n", 25000.0),
        ("netperf -P 0 -v 0 -f m -f g", "9.41\n", 9.41e9),
        ("netperf -P 0 -v 0 -f gbits", "9.41\n", 9.41e9),
        ("netperf -P 0 -- -o THROUGHPUT,ELAPSED_TIME -o ELAPSED_TIME,THROUGHPUT", "10.00,9412.33\n", BITS),
        ("netperf -t omni -P 0 -- -d xmit|recv -o THROUGHPUT", "25000.00\n", 25000.0),
        ("netperf -t omni -P 0 -- -d 0x6 -o THROUGHPUT", "25000.00\n", 25000.0),
    ]);
    refused(&[("netperf -t omni -P 0 -- -d sideways -o THROUGHPUT", "25000.00\n", "direction")]);
    let hey = text("hey/0.1.4-plain.txt");
    assert_eq!(reading("hey http://x -c 4", &hey).benchmark.unwrap().pairs, Some(50));
    for command in ["hey --c 4 http://x", "hey --c=4 http://x", "hey -cpus 2 -c 4 http://x", "hey -c 2 -c 4 http://x"] {
        assert_eq!(reading(command, &hey).benchmark.unwrap().pairs, Some(4), "{command}");
    }
}

#[test]
fn clients_that_may_not_have_run_together_have_no_sum() {
    let wrk = text("wrk/4.1.0-plain.txt").repeat(2);
    let (why, netperf) = ("did not run at the same time", STREAM.repeat(2));
    refused(&[
        ("sh -c 'sleep 2 && wrk http://A & wrk http://B & wait'", &wrk, why),
        ("sh -c 'wrk http://A & sh -c \"sleep 3; wrk http://B\"; wait'", &wrk, why),
        ("sh -c 'sh -c \"sleep 3; netperf -H x\" & netperf -H y & wait'", &netperf, why),
        ("sh -c 'netperf -H x & ssh h \"sleep 5; netperf -H y\" & wait'", &netperf, why),
        ("sh -c 'flock f netperf -H x & flock f netperf -H y & wait'", &netperf, why),
    ]);
    read_as(&[
        ("sh -c 'wrk http://A & wrk http://B & wait'", &wrk, 2.0 * 1670.32),
        ("sh -c 'netperf -H x & ssh h netperf -H y & wait'", &netperf, 2.0 * BITS),
        ("sh -c 'netperf -H x | cat & netperf -H y | cat & wait'", &netperf, 2.0 * BITS),
    ]);
}

#[test]
fn one_of_several_clients_does_not_stand_for_all() {
    let (one, wrk, often) = (text("iperf3/3.9-tcp.json"), text("wrk/4.1.0-plain.txt"), "in a loop or a function");
    refused(&[
        ("sh -c 'for p in 1 2; do iperf3 -c x -p $p -J >$p & done; wait; cat 2'", &one, often),
        ("sh -c 'run() { wrk http://A >$1; }; run a & run b & wait; cat a'", &wrk, often),
        ("sh -c 'seq 4 | xargs -P4 -I{} wrk http://{}; cat 1'", &wrk, often),
        ("sh -c 'wrk http://A >/dev/null & X=\"$(wrk http://B)\"; echo \"$X\"'", &wrk, "2 clients"),
        ("redis-benchmark -l -q", "SET: 37299.52 requests per second, p50=0.599 msec\n", "-l"),
    ]);
    let file = read_text(&words("sh -c 'wrk http://A >/dev/null & wrk http://B >one; wait'"), &wrk).unwrap();
    assert!(file.benchmark.is_none() && file.notes[0].contains("2 clients"), "{file:?}");
    read_as(&[("sh -c 'until curl A; do sleep 1; done; wrk http://A'", &wrk, 1670.32)]);
}

#[test]
fn what_failed_is_no_answer() {
    let of = |kind: &str, codes: &str| {
        let whole = text("fortio/1.60-http.json").replace("\"HTTP\"", &format!("\"{kind}\""));
        reading("fortio load -json - x", &whole.replace("{ \"200\": 120005 }", codes))
    };
    let refused_texts = "{ \"dial tcp 10.0.0.2:9: connect: connection refused\": 120005 }";
    for (kind, codes) in
        [("TCP", refused_texts), ("UDP", "{ \"i/o timeout\": 120005 }"), ("GRPC Ping", "{ \"ERROR\": 120005 }")]
    {
        let found = of(kind, codes);
        assert!(found.benchmark.is_none() && found.notes[0].contains("no request was answered"), "{kind}: {found:?}");
    }
    for (kind, codes) in [
        ("TCP", "{ \"OK\": 60005, \"read tcp: connection reset by peer\": 60000 }"),
        ("GRPC Health for ''", "{ \"SERVING\": 60005, \"ERROR\": 60000 }"),
        ("HTTP", "{ \"200\": 60005, \"-1\": 60000 }"),
    ] {
        let found = of(kind, codes).benchmark.unwrap();
        assert_eq!((found.transactions_per_s.map(f64::round), found.failed), (Some(12001.0), Some(60000)), "{kind}");
        assert_eq!(found.round_trip_ns.or(found.round_trip_p50_ns), None, "{kind}");
    }
    for kind in ["GRPC Health for ''", "GRPC Ping PayloadLength=10", "GRPC Ping Delay=1ms"] {
        assert_eq!(main_figure(&of(kind, "{ \"SERVING\": 120005 }")), Some(24000.5), "{kind}");
    }
}

#[test]
fn tests_that_are_not_known_are_none_that_are() {
    for test in [
        "UDP UNIDIRECTIONAL SEND TEST from 0.0.0.0 port 0 AF_INET to x\n9000.00\n",
        "TCP Non-Blocking REQUEST/RESPONSE TEST from 0.0.0.0 port 0 AF_INET to x\n25000.00\n",
        "STREAM STREAM TEST from 0.0.0.0 port 0 AF_INET to x\n9000.00\n",
    ] {
        let found = read_text(&[], test).unwrap();
        assert!(found.benchmark.is_none() && found.notes[0].contains("its test is unknown"), "{found:?}");
        refused(&[("netperf -H x -v 0", test, "its test is unknown")]);
    }
}

#[test]
fn what_stands_around_a_result_changes_nothing() {
    let (ping, interim) =
        (text("ping/20221126-plain.txt"), "Interim result: 9.40 10^9bits/s over 1.000 seconds ending at 1.1\n");
    let (banner, rest) = STREAM.split_once('\n').unwrap();
    read_as(&[
        ("sh -c 'echo start; netperf -H x'", &format!("start\n{STREAM}"), BITS),
        ("sh -c 'nproc; netperf -H x'", &format!("2\n{STREAM}"), BITS),
        ("sh -c 'ping -c1 x; netperf -H x'", &format!("{ping}{STREAM}"), BITS),
        ("netperf -H x -D 1", &format!("{banner}\n{interim}{interim}{rest}"), BITS),
        (
            "netperf -H x -D 1 -- -o THROUGHPUT,THROUGHPUT_UNITS",
            &format!("{banner}\n{interim}Throughput,Throughput Units\n9412.33,10^6bits/s\n"),
            BITS,
        ),
    ]);
    let wrk = text("wrk/4.1.0-plain.txt");
    for before in [
        "thread 1 opened 1 connections\n",
        "Latency Distribution of my script\n 50% 1.00us\n",
        "Latency  9us 9us 9us\n",
    ] {
        let whole = wrk.replace("  Thread Stats", &format!("{before}  Thread Stats"));
        assert_eq!(reading("wrk -s a.lua http://x", &whole), reading("wrk http://x", &wrk), "{before}");
    }
    let named = "set a 1 requests per second: 112359.55 requests per second, p50=0.215 msec\n";
    read_as(&[("redis-benchmark -q set a x", named, 112_359.55)]);
}

#[test]
fn a_server_that_is_ended_when_it_waits_has_told_what_was_over() {
    let one = text("iperf3/3.21-server.json");
    let waits = "{\"start\":{\"connected\":[],\"version\":\"iperf 3.21\"},\"intervals\":[],\"end\":{},\"error\":\"interrupt - the server \
                 has terminated by signal Terminated(15)\"}\n";
    let found = reading("iperf3 -s -J", &format!("{one}{waits}"));
    assert_eq!(found.benchmark, reading("iperf3 -s -1 -J", &one).benchmark);
    assert!(found.notes[0].contains("waited for another"), "{found:?}");
    assert_eq!(reading("iperf3 -s -J", waits).benchmark, None);
}

#[test]
fn figures_that_contradict_themselves_are_none() {
    let udp = text("netperf/2.7.0-udp_stream.txt");
    let row = udp.lines().rev().find(|line| line.split_whitespace().count() == 4).unwrap();
    let came = row.split_whitespace().nth(2).unwrap();
    let twice = with("iperf3/3.16-tcp.json", "/start/test_start/bidir", 0.into());
    let twice = twice.replacen(
        "\"sum_received\":",
        "\"sum_received\":{\"seconds\":1,\"bytes\":1e9,\"bits_per_second\":8e9},\"sum_received\":",
        1,
    );
    refused(&[
        ("netperf -t UDP_STREAM -H x -- -m 1400", &udp.replace(came, "99999999999"), "more datagrams"),
        ("iperf3 -c x -J", &twice, "2 sums"),
        ("sockperf pp -i x", &changed("sockperf/3.7-pp-udp.txt", "2.494 usec", "12,494 usec"), "unknown kind"),
    ]);
    let timeless = reading("netperf -H x", &STREAM.replace(" 10.00 ", " 0.00 "));
    assert!(main_figure(&timeless).is_none() && timeless.notes.len() == 2, "{timeless:?}");
    let nothing = reading("netperf -t TCP_RR -P 0 -v 0", "0.00\n");
    assert!(main_figure(&nothing) == Some(0.0) && nothing.notes[0].contains("nothing arrived"), "{nothing:?}");
    // Exponents are numbers.
    let power = changed("sockperf/3.7-pp-udp.txt", "2.494 usec", "2.494e+00 usec");
    assert_eq!(reading("sockperf pp -i x", &power).benchmark.unwrap().round_trip_ns, Some(4988.0));
}

#[test]
fn rates_that_were_asked_for_are_told() {
    let pp = text("sockperf/3.7-pp-udp.txt");
    let fortio = changed("fortio/1.60-http.json", "\"max\"", "\"24000\"");
    for (command, output) in [
        ("sockperf pp -i x --mps=200", &pp),
        ("hey -q 20 -c 4 http://x", &text("hey/0.1.4-plain.txt")),
        ("fortio load -qps 24000 -json - http://x", &fortio),
    ] {
        let found = reading(command, output);
        assert!(main_figure(&found).is_some() && found.notes[0].contains("client's choice"), "{command}: {found:?}");
    }
    assert!(reading("sockperf pp -i x --mps=max", &pp).notes.is_empty());
}

#[test]
fn requests_on_their_way_are_as_many_as_asked_for() {
    let found = reading(
        "netperf -t TCP_RR -P 0 -- -b 4 -k THROUGHPUT,THROUGHPUT_UNITS,MEAN_LATENCY",
        "THROUGHPUT=25000.00\nTHROUGHPUT_UNITS=Trans/s\nMEAN_LATENCY=160.00\n",
    );
    let benchmark = found.benchmark.unwrap();
    assert_eq!((benchmark.transactions_per_s, benchmark.round_trip_ns), (Some(25000.0), Some(160e3)));
    let unknown = reading("sh -c 'netperf -t TCP_RR -f x -v 0 -P 0 -- $OPTS'", "25000.00\n");
    assert!(unknown.benchmark.is_none() || main_figure(&unknown) == Some(25000.0));
    let burst = reading("netperf -t TCP_RR -v 0", &format!("{}25000.00\n", REQUESTS.replace("burst 0", "burst 4")));
    assert!(burst.benchmark.unwrap().round_trip_ns.is_none() && burst.notes[0].contains("-b 4"), "{:?}", burst.notes);
}

#[test]
fn a_tool_that_nobody_names_is_a_note() {
    let (wrk, iperf3, why) = (text("wrk/4.1.0-plain.txt"), text("iperf3/3.9-tcp.json"), "looks like that of");
    refused(&[
        ("sh -c 'W=wrk; $W http://x'", &wrk, why),
        ("./run.sh iperf3 -c x -J", &iperf3, why),
        ("bash bench.sh", STREAM, why),
        ("docker logs iperf3 --tail 300", &iperf3, why),
        ("sh -c 'sh <<EOF\nwrk http://x\nEOF\n'", &wrk, why),
        ("./run.sh", "done: 17 requests, all right\n", ""),
        ("cat old.json", &iperf3, ""),
        ("bash install iperf3 -y", "done\n", ""),
    ]);
}

#[test]
fn where_nothing_is_measured_there_is_no_note() {
    for command in [
        "iperf3 --version",
        "wrk --version",
        "netperf -V",
        "fortio server",
        "fortio curl http://x",
        "qperf",
        "qperf -lp 1234",
        "sockperf server -i x",
        "kubectl exec iperf3 -c app -- cat /etc/hosts",
        "sh -c 'cat <<EOF\nwrk http://x\nEOF\n'",
    ] {
        assert_eq!(reading(command, "something 1.5 or other\n"), Reading::default(), "{command}");
    }
}

#[test]
fn that_the_recording_ended_a_benchmark_is_told() {
    let of = |command: &str, output: &str| reading(command, output).of_ended().notes;
    let cut = of("wrk http://x", "Running 30s test @ http://x\n");
    assert!(cut.len() == 2 && cut[1].contains("the recording was over"), "{cut:?}");
    assert!(of("wrk http://x", &text("wrk/4.1.0-plain.txt")).is_empty());
    assert!(of("sleep 10", "").is_empty());
}

#[test]
fn a_figure_that_is_left_out_is_told() {
    let wrk = text("wrk/4.1.0-plain.txt");
    let ping = text("ping/20221126-plain.txt").repeat(2);
    let fraction = with("iperf3/3.16-udp.json", "/end/sum_received/lost_packets", 0.5.into());
    for (command, output, why) in [
        ("wrk http://x", wrk.replace("2.71ms", "2,71ms"), "latency is no time"),
        ("wrk http://x", wrk.replace("    Latency ", "    Lat "), "latency is missing"),
        ("hey -c 4 http://x", changed("hey/0.1.4-plain.txt", "Average:\t0.", "Average:\t0,"), "mean time"),
        ("sh -c 'ping -c3 10.0.0.2 & ping -c3 10.0.0.3 & wait'", ping, "have no mean"),
        ("iperf3 -c x -u -J", fraction, "no whole numbers"),
    ] {
        let found = reading(command, &output);
        assert!(found.benchmark.is_some() && found.notes.iter().any(|note| note.contains(why)), "{command}: {found:?}");
    }
}
