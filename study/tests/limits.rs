//! The model keeps to its own limits, repeats by seed, and refuses what makes no sense.

use squall_study::{Delay, Load, Peer, PeerError, Profile, ProfileError, Run, RunError, Senders, goals, published, raw};

fn profiles() -> impl Iterator<Item = Profile> {
    Profile::names().map(|name| Profile::built_in(name).unwrap())
}

#[test]
fn the_raw_write_gives_the_profiles_rate_and_latency() {
    for profile in profiles().filter(|profile| profile.kernel.is_none()) {
        let (got, said) = (raw::bytes_per_s(&profile, 1 << 20, 200), profile.payload_bytes_per_s());
        assert!(got <= said && got > 0.99 * said, "{}: {got} of {said} bytes a second", profile.name);
        let (cpu, nic) = (&profile.cpu, &profile.nic);
        let word_ns = (8.0 + profile.link.header_bytes) / profile.line_bytes_per_s() * 1e9;
        let least_ns = 1e3 / nic.million_writes_per_second;
        let said_ns = cpu.post_ns + cpu.doorbell_ns + nic.doorbell_to_line_ns + profile.switch.hop_ns + word_ns.max(least_ns) + nic.land_ns;
        let got_ns = raw::latency_ps(&profile) as f64 / 1e3;
        assert!((got_ns - said_ns).abs() < 1.0, "{}: {got_ns} ns instead of {said_ns}", profile.name);
    }
}

#[test]
fn the_raw_stream_of_tcp_is_what_a_core_can_take_in() {
    for profile in profiles() {
        if let Some(kernel) = &profile.kernel {
            let (got, line) = (raw::bytes_per_s(&profile, 1 << 20, 100), profile.payload_bytes_per_s());
            let core = 1e12 / kernel.receive_ns_per_kilobyte.max(kernel.send_ns_per_kilobyte);
            let bound = line.min(core);
            assert!(got <= bound && got > 0.75 * bound, "{}: {got} of {bound} bytes a second", profile.name);
        }
    }
}

#[test]
fn no_run_beats_its_bound_and_a_seed_repeats_it() {
    for profile in profiles() {
        for (nodes, senders, bytes) in
            [(2, Senders::All, 10_240), (5, Senders::Half, 100_000), (4, Senders::One, 1_048_576), (3, Senders::All, 1)]
        {
            let run = Run { messages: Some(40), ..Run::stream(&profile, nodes, senders, bytes) };
            let outcome = run.run().unwrap();
            assert!(outcome.bound_part <= 1.0, "{}: {}", profile.name, outcome.bound_part);
            let again = run.run().unwrap();
            assert_eq!((outcome.seconds, outcome.happened, outcome.latency), (again.seconds, again.happened, again.latency));
            let other = Run { seed: 2, ..run }.run().unwrap();
            assert_ne!(outcome.seconds, other.seconds, "another seed is another cluster");
        }
    }
}

#[test]
fn a_paced_load_counts_from_when_messages_were_due() {
    let profile = Profile::built_in("sim-rdma-100g").unwrap();
    let paced = |interval_ps| {
        let run = Run { load: Load::Paced { interval_ps }, messages: Some(300), ..Run::stream(&profile, 2, Senders::One, 1000) };
        run.run().unwrap().latency
    };
    let (light, flooded) = (paced(20_000_000), paced(100));
    assert!(light.us(0.5) < 4.0 && flooded.us(0.9) > 5.0 * light.us(0.9), "{} and {}", light.us(0.5), flooded.us(0.9));
}

#[test]
fn late_messages_are_slow_from_when_they_were_due_and_not_from_their_call() {
    let profile = Profile::built_in("sim-rdma-100g").unwrap();
    let run = Run { window: Some(8), messages: Some(2000), ..Run::stream(&profile, 2, Senders::One, 10_240) };
    // The window of 8 holds a stream below the line, and a paced load is not held: its knee is where the line is full.
    let at = |times: f64| {
        let interval_ps = (run.message_bytes as f64 / run.bound_bytes_per_s() * 1e12 / times) as u64;
        let outcome = Run { load: Load::Paced { interval_ps }, ..run.clone() }.run().unwrap();
        (outcome.latency.us(0.9), outcome.from_call.us(0.9))
    };
    let ((light, light_call), (late, late_call)) = (at(0.3), at(1.3));
    assert!(light < 1.5 * light_call, "under light load both are the same: {light} and {light_call}");
    assert!(late > 10.0 * late_call, "past the knee the call hides what waited: {late} and {late_call}");
}

#[test]
fn slow_loops_cost_what_they_take_and_idle_senders_next_to_nothing() {
    let profile = Profile::built_in("sim-rdma-100g").unwrap();
    let rate = |delay| {
        let run = Run { delay, messages: Some(1500), ..Run::stream(&profile, 4, Senders::All, 10_240) };
        run.run().unwrap().bytes_per_s
    };
    let slow = |slower_by| Delay { slow: 1, slower_by, idle: 0 };
    let (even, little, much) = (rate(Delay::default()), rate(slow(0.5)), rate(slow(200.0)));
    assert!(little > 0.7 * even && much < 0.7 * even, "{even}: {little} with 1.5 times, {much} with 201 times as long turns");
    // Nulls stand in for who sends nothing; the others have its part of each receiver's line.
    let idle = rate(Delay { idle: 1, ..Delay::default() });
    assert!(idle > 0.6 * even, "{even}: {idle} with an idle sender");
}

#[test]
fn what_must_come_out_does() {
    let goals = goals::measure(16, |_| {}).unwrap();
    assert_eq!(goals.len(), 9);
    for goal in &goals {
        assert!(goal.is_met(), "{}: {} is not {} ({})", goal.what, goal.got, goal.wanted, goal.because);
    }
}

#[test]
fn the_peer_is_near_its_published_curves_where_it_was_not_fitted() {
    // Aimed at are 15 % over RDMA and 25 % over TCP. These are medians: ARCHITECTURE.md says what is further
    // off.
    for (profile, network, source, of_bandwidth, of_latency) in [
        ("sim-rdma-100g", "ib100g-libfabric", "rdma_TOCS_fig12b", 0.15, 0.15),
        ("sim-tcp-100g", "tcp-eth100g", "tcp_TOCS_fig13b", 0.25, 0.25),
    ] {
        let profile = Profile::built_in(profile).unwrap();
        let peer = Peer::on(&profile);
        // A part of the held-out points; `squall study` prints all.
        let held_out = |nodes: usize| [5, 8, 11].contains(&nodes);
        let points: Vec<_> = published::bandwidth().into_iter().filter(|point| point.network == network && held_out(point.nodes)).collect();
        let error = PeerError::of(&profile, &peer, &points, |run| run).unwrap();
        assert_eq!(error.points.len(), 27);
        assert!(error.median_held_out() <= of_bandwidth, "{network}: {}", error.median_held_out());
        let points: Vec<_> = published::latency().into_iter().filter(|point| point.source == source && held_out(point.nodes)).collect();
        let error = PeerError::of(&profile, &peer, &points, |run| run).unwrap();
        assert_eq!(error.points.len(), 12);
        assert!(error.median_held_out() <= of_latency, "{source}: {}", error.median_held_out());
    }
}

#[test]
fn hundreds_of_nodes_fit_and_what_does_not_says_what_it_needs() {
    let profile = Profile::built_in("sim-rdma-100g").unwrap();
    let outcome =
        Run { messages: Some(1), block_bytes: Some(1 << 20), ..Run::stream(&profile, 128, Senders::One, 104_857_600) }.run().unwrap();
    assert!(outcome.bound_part > 0.85);
    // More than may be members where they come and go.
    let large = Run { messages: Some(3), ..Run::stream(&profile, 300, Senders::One, 1000) }.run().unwrap();
    assert!(large.bound_part > 0.0 && large.messages == 3);
    let error = Run::stream(&profile, 512, Senders::All, 10_240).run().unwrap_err();
    assert!(matches!(error, RunError::TooLarge(_)), "{error}");
    assert!(error.to_string().contains("MiB") && error.to_string().contains("fewer"), "{error}");
}

#[test]
fn a_profile_that_makes_no_sense_is_refused_by_field_value_and_mend() {
    let text = Profile::text("sim-rdma-100g").unwrap();
    for (from, to, named) in [
        ("gigabits_per_second = 100.0", "gigabits_per_second = -1.0", vec!["link.gigabits_per_second", "-1", "Gb/s"]),
        ("gigabits_per_second = 100.0", "gigabits_per_second = nan", vec!["link.gigabits_per_second", "NaN"]),
        ("gigabits_per_second = 100.0", "", vec!["gigabits_per_second", "missing"]),
        ("gigabits_per_second = 100.0", "gigabits_per_second = \"fast\"", vec!["gigabits_per_second"]),
        ("hop_ns = 300.0", "hop_ns = 300.0\nhops = 3", vec!["hops"]),
        ("queue_writes_max = 128", "queue_writes_max = 1", vec!["nic.queue_writes_max", "1", "4 to"]),
        ("turn_ns = 60.0", "turn_ns = 1e12", vec!["cpu.turn_ns", "ns"]),
        ("hop_ns = 300.0", "hop_ns = 300.0\noversubscription = 4.0", vec!["switch.oversubscription", "4", "hosts_a_leaf"]),
        ("hop_ns = 300.0", "hop_ns = 300.0\nhosts_a_leaf = 2.5", vec!["switch.hosts_a_leaf", "2.5", "whole"]),
        ("skew = 0.05", "skew = 0.05\nwake_us = 20.0", vec!["cpu.wake_us", "20", "cpu.spin_us"]),
        ("skew = 0.05", "skew = inf", vec!["cpu.skew", "inf"]),
        ("name = \"sim-rdma-100g\"", "name = \"verbs\"", vec!["name", "verbs", "sim-"]),
    ] {
        let broken = text.replacen(from, to, 1);
        assert_ne!(broken, text, "{from}");
        let error = Profile::parse(&broken, "mine.toml").unwrap_err().to_string();
        assert!(error.contains("mine.toml") && named.iter().all(|name| error.contains(name)), "{error}");
    }
    assert!(matches!(Profile::built_in("sim-token-ring"), Err(ProfileError::Unknown { .. })));
}

#[test]
fn a_topology_that_does_not_fit_is_refused() {
    let text =
        Profile::text("sim-rdma-100g").unwrap().replace("hop_ns = 300.0", "hop_ns = 300.0\nhosts_a_leaf = 4\noversubscription = 4.0");
    let profile = Profile::parse(&text, "leaves.toml").unwrap();
    let run = |nodes| Run { messages: Some(20), ..Run::stream(&profile, nodes, Senders::One, 1_048_576) }.run();
    let error = run(6).unwrap_err();
    assert!(error.to_string().contains("6 nodes") && error.to_string().contains("multiple of 4"), "{error}");
    let (within, across) = (run(4).unwrap().bytes_per_s, run(8).unwrap().bytes_per_s);
    assert!(across < 0.9 * within, "{within} within a leaf, {across} across trunks");
}
