//! Figures that are looked up when they are asked for, as Prometheus' text has them.
//!
//! What happens is counted where it happens, by the `metrics` crate. What *is* (how full a queue is, how much
//! memory the process has) costs nothing until a scrape asks: a service writes it onto this page then, and so each
//! service shows its own, where two run in one process.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Write as _};

/// A page of figures.
#[derive(Debug, Default)]
pub struct Page(BTreeMap<&'static str, Family>);

/// All figures of one name.
#[derive(Debug)]
struct Family {
    kind: &'static str,
    help: &'static str,
    lines: String,
}

impl Page {
    /// Notes how something is.
    pub fn gauge(
        &mut self,
        name: &'static str,
        help: &'static str,
        labels: &[(&str, &str)],
        value: f64,
    ) {
        self.add("gauge", name, help, labels, value);
    }

    /// Notes how often something happened, which only grows.
    pub fn counter(
        &mut self,
        name: &'static str,
        help: &'static str,
        labels: &[(&str, &str)],
        value: f64,
    ) {
        self.add("counter", name, help, labels, value);
    }

    fn add(
        &mut self,
        kind: &'static str,
        name: &'static str,
        help: &'static str,
        labels: &[(&str, &str)],
        value: f64,
    ) {
        let family = self.0.entry(name).or_insert(Family { kind, help, lines: String::new() });
        let labels: Vec<String> =
            labels.iter().map(|(label, value)| format!("{label}=\"{}\"", escaped(value))).collect();
        let labels = match labels.as_slice() {
            [] => String::new(),
            labels => format!("{{{}}}", labels.join(",")),
        };
        // Writing to a text cannot fail.
        let _written = writeln!(family.lines, "{name}{labels} {value}");
    }
}

impl Display for Page {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, Family { kind, help, lines }) in &self.0 {
            writeln!(to, "# HELP {name} {help}\n# TYPE {name} {kind}\n{lines}")?;
        }
        Ok(())
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_its_help_once_and_its_figures_together() {
        let mut page = Page::default();
        page.gauge("b_bytes", "How full.", &[("queue", "a \"b\"\n\\")], 1.5);
        page.counter("a_total", "How often.", &[], 7.0);
        page.gauge("b_bytes", "How full.", &[("queue", "c"), ("of", "d")], 2.0);
        let text = "# HELP a_total How often.\n# TYPE a_total counter\na_total 7\n\n\
                    # HELP b_bytes How full.\n# TYPE b_bytes gauge\n\
                    b_bytes{queue=\"a \\\"b\\\"\\n\\\\\"} 1.5\nb_bytes{queue=\"c\",of=\"d\"} 2\n\n";
        assert_eq!(page.to_string(), text);
    }
}
