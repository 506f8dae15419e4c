use serde::Serialize;

use crate::pairs::Pairs;

/// One line of a report. Its fields, in this order, are those of the JSON output.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Figure {
    pub(crate) name: String,
    /// Ours.
    pub(crate) value: f64,
    /// Of `value` and `floor`.
    pub(crate) unit: &'static str,
    /// The same of the floor.
    pub(crate) floor: f64,
    /// Ours / floor; for throughput the median of the pairwise ratios.
    pub(crate) ratio: f64,
    /// The least ratio that is good enough; without one the figure is for information.
    pub(crate) goal: Option<f64>,
    /// The floor counts, and the goal is reached if there is one.
    pub(crate) ok: bool,
    /// The least and the greatest ratio of a pair.
    pub(crate) spread: Option<(f64, f64)>,
    /// Why the floor does not count.
    pub(crate) voided: Option<String>,
}

impl Figure {
    /// Calls a second, from slices that alternated.
    pub(crate) fn throughput(
        name: String,
        pairs: &Pairs,
        goal: Option<f64>,
        voided: Option<String>,
    ) -> Self {
        let ratio = pairs.ratio();
        Self {
            name,
            value: pairs.ours(),
            unit: "calls/s",
            floor: pairs.floor(),
            ratio,
            goal,
            ok: voided.is_none() && goal.is_none_or(|goal| ratio >= goal),
            spread: Some(pairs.spread()),
            voided,
        }
    }

    /// A latency in microseconds: there is no goal for one.
    pub(crate) fn latency(name: String, ours: f64, floor: f64, voided: Option<String>) -> Self {
        Self {
            name,
            value: ours,
            unit: "us",
            floor,
            ratio: ours / floor,
            goal: None,
            ok: voided.is_none(),
            spread: None,
            voided,
        }
    }

    /// An amount that there is none too small of, such as bytes.
    pub(crate) fn amount(name: &str, unit: &'static str, ours: f64, floor: f64) -> Self {
        Self {
            unit,
            ..Self::latency(name.to_owned(), ours, floor, None)
        }
    }

    /// Whether there is a goal, and nothing shows that it is reached.
    pub(crate) fn misses(&self) -> bool {
        self.goal.is_some() && !self.ok
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(ratio: f64) -> Pairs {
        let mut pairs = Pairs::default();
        for _ in 0..7 {
            pairs.push(100.0, 100.0 * ratio);
        }
        pairs
    }

    #[test]
    fn a_goal_is_reached_by_the_ratio_and_only_beside_a_floor_that_counts() {
        let figure = |ratio, voided| {
            Figure::throughput("a".into(), &pairs(ratio), Some(0.7), voided).misses()
        };
        assert!(!figure(0.75, None));
        assert!(figure(0.65, None));
        assert!(figure(0.75, Some("a busy machine".into())));
    }

    #[test]
    fn a_figure_without_a_goal_misses_none() {
        assert!(!Figure::throughput("a".into(), &pairs(0.1), None, None).misses());
        assert!(!Figure::latency("a".into(), 9.0, 1.0, Some("busy".into())).misses());
    }

    #[test]
    fn the_json_of_a_figure_has_the_documented_fields_first() {
        let figure = Figure::throughput("local".into(), &pairs(0.75), Some(0.7), None);
        assert_eq!(
            serde_json::to_string(&figure).unwrap(),
            r#"{"name":"local","value":75.0,"unit":"calls/s","floor":100.0,"ratio":0.75,"goal":0.7,"ok":true,"spread":[0.75,0.75],"voided":null}"#
        );
        let latency = Figure::latency("p50".into(), 3.0, 2.0, Some("busy".into()));
        assert_eq!(
            serde_json::to_string(&latency).unwrap(),
            r#"{"name":"p50","value":3.0,"unit":"us","floor":2.0,"ratio":1.5,"goal":null,"ok":false,"spread":null,"voided":"busy"}"#
        );
    }
}
