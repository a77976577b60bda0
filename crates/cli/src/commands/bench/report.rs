//! The bench's table: medians of the rounds, and ratios to this library.

use std::io;
use std::time::Duration;

use serde_json::{Value, json};

use super::Bench;
use super::work::Taken;
use crate::output::{self, row};

/// The measurements so far, in the order of the first round.
#[derive(Default)]
pub(super) struct Report {
    throughput: Vec<(&'static str, &'static str, Vec<Taken>)>,
    latency: Vec<(&'static str, Vec<Quantiles>)>,
}

/// Of one round's latencies.
#[derive(Debug, Clone, Copy)]
struct Quantiles {
    p50: Duration,
    p99: Duration,
    p999: Duration,
}

impl Report {
    pub(super) fn throughput(&mut self, phase: &'static str, client: &'static str, taken: Taken) {
        let known = self
            .throughput
            .iter_mut()
            .find(|(other, name, _)| (*other, *name) == (phase, client));
        match known {
            Some((_, _, rounds)) => rounds.push(taken),
            None => self.throughput.push((phase, client, vec![taken])),
        }
    }

    pub(super) fn latency(&mut self, client: &'static str, mut latencies: Vec<Duration>) {
        latencies.sort_unstable();
        let at = |quantile: f64| {
            let last = latencies.len().saturating_sub(1);
            latencies
                .get((last as f64 * quantile) as usize)
                .copied()
                .unwrap_or_default()
        };
        let quantiles = Quantiles {
            p50: at(0.5),
            p99: at(0.99),
            p999: at(0.999),
        };
        match self.latency.iter_mut().find(|(name, _)| *name == client) {
            Some((_, rounds)) => rounds.push(quantiles),
            None => self.latency.push((client, vec![quantiles])),
        }
    }

    pub(super) fn print(&self, bench: &Bench<'_>) -> io::Result<()> {
        output::line(format!(
            "{} events per round of {} bytes, {} keys, {} partitions; medians of {} rounds",
            bench.work.events,
            bench.work.event_bytes().unwrap_or_default(),
            bench.options.keys,
            bench.options.partitions,
            bench.options.rounds,
        ))?;
        if !self.throughput.is_empty() {
            const NUMBERS: [&str; 3] = ["events/s", "ratio", "cpu s/million"];
            let headers = ["phase", "client", NUMBERS[0], NUMBERS[1], NUMBERS[2]];
            let mut table = output::table(&headers, &NUMBERS);
            for (phase, client, rounds) in &self.throughput {
                let rate = median(rounds, Taken::per_second);
                table.add_row(row([
                    (*phase).to_owned(),
                    (*client).to_owned(),
                    crate::format::count(rate as u64),
                    format!("{:.2}", rate / self.own_rate(phase)),
                    format!("{:.2}", median(rounds, Taken::cpu_seconds_a_million)),
                ]));
            }
            output::print_table(&table)?;
        }
        if !self.latency.is_empty() {
            output::line(format!(
                "send to consumer at {} events/s, in ms",
                bench.options.rate
            ))?;
            let headers = ["client", "p50", "p99", "p99.9"];
            let mut table = output::table(&headers, &headers[1..]);
            for (client, rounds) in &self.latency {
                let [p50, p99, p999] = milliseconds(rounds);
                table.add_row(row([
                    (*client).to_owned(),
                    format!("{p50:.2}"),
                    format!("{p99:.2}"),
                    format!("{p999:.2}"),
                ]));
            }
            output::print_table(&table)?;
        }
        Ok(())
    }

    pub(super) fn json(&self, bench: &Bench<'_>) -> Value {
        let throughput: Vec<_> = self
            .throughput
            .iter()
            .map(|(phase, client, rounds)| {
                json!({
                    "phase": phase,
                    "client": client,
                    "eventsPerSecond": median(rounds, Taken::per_second),
                    "cpuSecondsPerMillion": median(rounds, Taken::cpu_seconds_a_million),
                    "rounds": rounds.iter().map(Taken::per_second).collect::<Vec<_>>(),
                })
            })
            .collect();
        let latency: Vec<_> = self
            .latency
            .iter()
            .map(|(client, rounds)| {
                let [p50, p99, p999] = milliseconds(rounds);
                json!({ "client": client, "p50Ms": p50, "p99Ms": p99, "p999Ms": p999 })
            })
            .collect();
        json!({
            "events": bench.work.events,
            "eventBytes": bench.work.event_bytes().unwrap_or_default(),
            "throughput": throughput,
            "latencyRate": bench.options.rate,
            "latency": latency,
        })
    }

    /// This library's rate in a phase: the first contender of each.
    fn own_rate(&self, phase: &str) -> f64 {
        self.throughput
            .iter()
            .find(|(other, ..)| *other == phase)
            .map_or(f64::NAN, |(.., rounds)| median(rounds, Taken::per_second))
    }
}

fn milliseconds(rounds: &[Quantiles]) -> [f64; 3] {
    let ms = |pick: fn(&Quantiles) -> Duration| median(rounds, |q| pick(q).as_secs_f64() * 1e3);
    [ms(|q| q.p50), ms(|q| q.p99), ms(|q| q.p999)]
}

fn median<T>(rounds: &[T], of: impl Fn(&T) -> f64) -> f64 {
    let mut values: Vec<_> = rounds.iter().map(of).collect();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
