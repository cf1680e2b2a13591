//! Which host, or which link, of a matrix stands out: a bad cable, a slow port.

use squall_report::units;

use super::finding::Finding;
use super::reach::Link;

/// Less than this share of what is usual stands out.
const BANDWIDTH_SHARE: f64 = 0.7;
/// More than this many times what is usual stands out, and by more than timers and schedulers do.
const LATENCY_TIMES: f64 = 2.0;
const LATENCY_MARGIN_US: f64 = 10.0;

/// Hosts whose links are slow as a whole, then links that are slow though neither of their ends is; and what nobody
/// reaches.
pub(super) fn outliers(fabric: &str, links: &[Link], names: &[String]) -> Vec<Finding> {
    let mut found = unreachable(fabric, links, names);
    let bandwidth = |link: &Link| link.gigabytes_per_second;
    let latency = |link: &Link| link.latency_us;
    let is_slow = |value: f64, usual: f64| value < BANDWIDTH_SHARE * usual;
    let is_late = |value: f64, usual: f64| value > LATENCY_TIMES * usual + LATENCY_MARGIN_US;
    let text = |value: f64| format!("{} GB/s", units::number(value));
    found.extend(standing_out(fabric, links, names, bandwidth, is_slow, text));
    found.extend(standing_out(fabric, links, names, latency, is_late, |value| format!("{} us", units::number(value))));
    found
}

fn unreachable(fabric: &str, links: &[Link], names: &[String]) -> Vec<Finding> {
    let fails = |link: &&Link| link.failed.is_some();
    let of = |host: u32| links.iter().filter(move |link| link.from == host || link.to == host);
    let dead: Vec<u32> =
        (0..names.len() as u32).filter(|&host| names.len() > 2 && of(host).count() > 0 && of(host).all(|link| fails(&link))).collect();
    let mut found: Vec<Finding> = dead
        .iter()
        .map(|&host| {
            let why = of(host).find_map(|link| link.failed.clone()).unwrap_or_default();
            let what = format!("nobody reaches {}, and it reaches nobody: {why}", names[host as usize]);
            Finding::wrong(format!("{fabric} {}", names[host as usize]), what)
                .mended_by(format!("ping -c 3 {}; sudo nft list ruleset", names[host as usize]))
        })
        .collect();
    for link in links.iter().filter(fails).filter(|link| !dead.contains(&link.from) && !dead.contains(&link.to)) {
        let (from, to) = (&names[link.from as usize], &names[link.to as usize]);
        let what = format!("{from} does not reach {to}: {}", link.failed.as_deref().unwrap_or_default());
        found.push(Finding::wrong(format!("{fabric} {from} to {to}"), what).mended_by(format!("ssh {from} ping -c 3 {to}")));
    }
    found
}

fn standing_out(
    fabric: &str,
    links: &[Link],
    names: &[String],
    of: impl Fn(&Link) -> Option<f64>,
    is_out: impl Fn(f64, f64) -> bool,
    text: impl Fn(f64) -> String,
) -> Vec<Finding> {
    let Some(usual) = middle(links.iter().filter_map(&of)) else { return Vec::new() };
    let mut found = Vec::new();
    let mut slow = Vec::new();
    // Only of a slow host most links are slow: its peers have fast ones too.
    for (host, name) in names.iter().enumerate() {
        let own = |link: &&Link| link.from == host as u32 || link.to == host as u32;
        let Some(value) = middle(links.iter().filter(own).filter_map(&of)) else { continue };
        if names.len() > 2 && is_out(value, usual) {
            slow.push(host as u32);
            let what = format!("its links carry {} in the middle, all links {}: a bad cable or a slow port?", text(value), text(usual));
            let mend = format!("ssh {name} 'ethtool INTERFACE; ip -s link; ibstat'");
            found.push(Finding::advice(format!("{fabric} {name}"), what).mended_by(mend));
        }
    }
    for link in links.iter().filter(|link| !slow.contains(&link.from) && !slow.contains(&link.to)) {
        let Some(value) = of(link).filter(|&value| is_out(value, usual)) else { continue };
        let (from, to) = (&names[link.from as usize], &names[link.to as usize]);
        let what = format!("{} from {from} to {to}, {} in the middle of all links", text(value), text(usual));
        let mend = format!("ssh {from} tracepath {to}   # another route, a switch between?");
        found.push(Finding::advice(format!("{fabric} {from} to {to}"), what).mended_by(mend));
    }
    found
}

fn middle(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    match values.len() {
        0 => None,
        even if even % 2 == 0 => Some(f64::midpoint(values[half - 1], values[half])),
        _ => Some(values[half]),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    fn matrix(hosts: u32, of: impl Fn(u32, u32) -> (f64, f64)) -> (Vec<Link>, Vec<String>) {
        let pairs = (0..hosts).flat_map(|from| (0..hosts).filter(move |&to| to != from).map(move |to| (from, to)));
        let link = |(from, to)| {
            let (rate, latency) = of(from, to);
            Link { from, to, gigabytes_per_second: Some(rate), latency_us: Some(latency), failed: None }
        };
        (pairs.map(link).collect(), (0..hosts).map(|host| format!("node{host}")).collect())
    }

    #[test]
    fn alike_hosts_have_no_outlier() {
        let (links, names) = matrix(5, |from, to| (10.0 + f64::from(from + to) / 10.0, 20.0));
        assert_eq!(outliers("tcp", &links, &names), []);
    }

    #[test]
    fn a_host_with_a_bad_cable_is_named_and_its_peers_are_not() {
        let (links, names) = matrix(5, |from, to| if from == 3 || to == 3 { (1.0, 20.0) } else { (10.0, 20.0) });
        let found = outliers("verbs", &links, &names);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].about == "verbs node3" && found[0].what.contains("1.00 GB/s") && found[0].mend.is_some());
    }

    #[test]
    fn one_slow_link_is_named_by_its_ends() {
        let (links, names) = matrix(4, |from, to| if (from, to) == (1, 2) { (2.0, 90.0) } else { (10.0, 20.0) });
        let found = outliers("tcp", &links, &names);
        assert_eq!(found.iter().map(|finding| finding.about.as_str()).collect::<Vec<_>>(), ["tcp node1 to node2"; 2]);
        // Of two hosts none is the odd one: the direction is.
        let (links, names) = matrix(2, |from, _| (if from == 0 { 10.0 } else { 3.0 }, 20.0));
        assert_eq!(outliers("tcp", &links, &names)[0].about, "tcp node1 to node0");
    }

    #[test]
    fn a_host_that_nobody_reaches_is_wrong_and_named_once() {
        let (mut links, names) = matrix(4, |_, _| (10.0, 20.0));
        for link in links.iter_mut().filter(|link| link.from == 2 || link.to == 2) {
            *link = Link { gigabytes_per_second: None, latency_us: None, failed: Some("no route".into()), ..link.clone() };
        }
        let found = outliers("tcp", &links, &names);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].level == Level::Wrong && found[0].what.contains("nobody reaches node2") && found[0].what.contains("no route"));
    }
}
