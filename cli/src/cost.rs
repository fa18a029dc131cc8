//! `cost`: what sandboxes cost at Daytona, by its published prices.

use daytona_core::wire::sandbox::{Sandbox as Data, SandboxState};
use daytona_core::{ListQuery, Sandbox};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::context::{Context, Outcome};
use crate::output::{Text, Tone, number, seconds_since};

const PRICES: &str = include_str!("prices.json");
const SECONDS_PER_HOUR: f64 = 3600.0;

/// Of a size that is not there yet, or of the sandboxes that are.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Without sizes: what your sandboxes cost an hour, and at most so far, as if each had been in its \
present state since it was made. With sizes: what such a sandbox costs.\n\nThe first GiB of storage that are free for an \
organization are not taken off. Estimates; the bill is Daytona's."
)]
pub(crate) struct Cost {
    /// Ids or names of sandboxes [default: all].
    #[arg(value_name = "ID", conflicts_with_all = ["cpu", "memory", "disk", "hours"])]
    sandboxes: Vec<String>,
    /// Cores.
    #[arg(long, value_name = "N", value_parser = positive)]
    cpu: Option<f64>,
    /// Memory in GiB.
    #[arg(long, value_name = "GIB", value_parser = positive)]
    memory: Option<f64>,
    /// Disk in GiB.
    #[arg(long, value_name = "GIB", value_parser = positive)]
    disk: Option<f64>,
    /// Hours that it runs.
    #[arg(long, value_name = "HOURS", value_parser = positive)]
    hours: Option<f64>,
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() && value >= 0.0 => Ok(value),
        _ => Err("use a number that is not negative".to_owned()),
    }
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Prices {
    source: String,
    date: String,
    currency: String,
    per_hour: PerHour,
    free_disk_gib: f64,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct PerHour {
    cpu: f64,
    memory_gib: f64,
    disk_gib: f64,
}

/// Of one sandbox.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Estimate {
    id: String,
    name: String,
    state: SandboxState,
    per_hour: f64,
    /// From its making to now, at this rate.
    so_far: Option<f64>,
}

impl Prices {
    fn read() -> Self {
        serde_json::from_str(PRICES).expect("the file of prices is well-formed")
    }

    fn running(&self, cpu: f64, memory: f64, disk: f64) -> f64 {
        cpu * self.per_hour.cpu + memory * self.per_hour.memory_gib + disk * self.per_hour.disk_gib
    }

    /// What runs needs all of it, what rests only its disk, what is archived nothing that is billed by these.
    fn of(&self, data: &Data) -> f64 {
        match data.state.unwrap_or_default() {
            SandboxState::Archived
            | SandboxState::Destroyed
            | SandboxState::Destroying
            | SandboxState::BuildFailed
            | SandboxState::Error => 0.0,
            SandboxState::Stopped | SandboxState::Archiving => self.running(0.0, 0.0, data.disk),
            _ => self.running(data.cpu, data.memory, data.disk),
        }
    }

    fn note(&self) -> String {
        format!(
            "prices of {} from {}, in {}; {} GiB of storage are free",
            self.date,
            self.source,
            self.currency,
            number(self.free_disk_gib)
        )
    }
}

pub(crate) async fn run(context: &Context, args: &Cost) -> Outcome {
    let prices = Prices::read();
    if [args.cpu, args.memory, args.disk, args.hours].iter().any(Option::is_some) {
        return estimate(context, args, &prices);
    }
    let client = context.client()?;
    let mut all: Vec<Sandbox> = Vec::new();
    for id in &args.sandboxes {
        all.push(client.get(id, None).await?);
    }
    if args.sandboxes.is_empty() {
        let mut cursor = None;
        loop {
            let page = client.list(&ListQuery::default(), cursor.as_deref(), None).await?;
            all.extend(page.items);
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
    }
    let all: Vec<Estimate> = all.iter().map(|sandbox| of(&sandbox.data(), &prices)).collect();
    let per_hour: f64 = all.iter().map(|one| one.per_hour).sum();
    let so_far: f64 = all.iter().filter_map(|one| one.so_far).sum();
    if context.out.json {
        return context.out.json(&json!({
            "prices": prices, "sandboxes": all, "perHour": per_hour, "soFarAtMost": so_far,
        }));
    }
    if all.is_empty() {
        context
            .out
            .note("there are no sandboxes. `daytona-native cost --cpu 2 --memory 4 --disk 10` is for one to come");
        return Ok(());
    }
    let mut rows: Vec<Vec<Text>> = all
        .iter()
        .map(|one| {
            let name = if one.name == one.id { "-" } else { &one.name };
            vec![
                Text::from(&*one.id),
                Text::from(name),
                Text(one.state.to_string(), Tone::of(one.state)),
                Text::from(money(one.per_hour)),
                Text::from(one.so_far.map_or_else(|| "-".to_owned(), money)),
            ]
        })
        .collect();
    rows.push(vec!["total".into(), "".into(), "".into(), money(per_hour).into(), money(so_far).into()]);
    context.out.table(&["ID", "NAME", "STATE", "AN HOUR", "SO FAR"], &[3, 4], &[], &rows)?;
    context.out.line(context.out.paint(Tone::Dim, "so far: at most, as if each had always been in its state"))?;
    context.out.line(context.out.paint(Tone::Dim, &prices.note()))
}

fn of(data: &Data, prices: &Prices) -> Estimate {
    let per_hour = prices.of(data);
    let age = data.created_at.as_deref().and_then(seconds_since);
    #[expect(clippy::cast_precision_loss, reason = "seconds of a life")]
    let so_far = age.map(|seconds| seconds.max(0) as f64 / SECONDS_PER_HOUR * per_hour);
    Estimate { id: data.id.clone(), name: data.name.clone(), state: data.state.unwrap_or_default(), per_hour, so_far }
}

fn estimate(context: &Context, args: &Cost, prices: &Prices) -> Outcome {
    // Daytona's own where nothing is said.
    let (cpu, memory, disk) = (args.cpu.unwrap_or(1.0), args.memory.unwrap_or(1.0), args.disk.unwrap_or(3.0));
    let hours = args.hours.unwrap_or(1.0);
    let per_hour = prices.running(cpu, memory, disk);
    if context.out.json {
        return context.out.json(&json!({
            "prices": prices,
            "cpu": cpu, "memoryGib": memory, "diskGib": disk, "hours": hours,
            "perHour": per_hour, "total": per_hour * hours,
        }));
    }
    let rows = [
        (format!("{} CPU", number(cpu)), cpu * prices.per_hour.cpu),
        (format!("{} GiB memory", number(memory)), memory * prices.per_hour.memory_gib),
        (format!("{} GiB disk", number(disk)), disk * prices.per_hour.disk_gib),
        ("total".to_owned(), per_hour),
    ];
    let rows = rows
        .into_iter()
        .map(|(what, hourly)| vec![Text::from(what), Text::from(money(hourly)), Text::from(money(hourly * hours))]);
    let title = format!("{} H", number(hours));
    context.out.table(&["", "AN HOUR", &title], &[1, 2], &[], &rows.collect::<Vec<_>>())?;
    context.out.line(context.out.paint(Tone::Dim, &prices.note()))
}

/// With as many digits as small amounts need.
fn money(amount: f64) -> String {
    if amount == 0.0 || amount >= 1.0 { format!("${amount:.2}") } else { format!("${amount:.4}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sandbox_costs_what_it_uses() {
        let prices = Prices::read();
        let data = |state| Data { state: Some(state), cpu: 2.0, memory: 4.0, disk: 10.0, ..Data::default() };
        assert!((prices.of(&data(SandboxState::Started)) - 0.166_68).abs() < 1e-9);
        assert!((prices.of(&data(SandboxState::Stopped)) - 0.001_08).abs() < 1e-9);
        assert!(prices.of(&data(SandboxState::Archived)).abs() < 1e-9);
        assert_eq!(prices.date.parse::<jiff::civil::Date>().unwrap().to_string(), prices.date);
    }
}
