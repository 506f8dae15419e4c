use anyhow::Result;

/// What slices of a floor and of ours measured, pair by pair.
#[derive(Debug, Default)]
pub(crate) struct Pairs {
    floor: Vec<f64>,
    ours: Vec<f64>,
}

/// Measures both in turn. Which goes first alternates, too, so that neither always inherits the other's heat.
pub(crate) fn alternate(
    count: usize,
    mut floor: impl FnMut() -> Result<f64>,
    mut ours: impl FnMut() -> Result<f64>,
) -> Result<Pairs> {
    let mut pairs = Pairs::default();
    for pair in 0..count {
        let (floor, ours) = if pair % 2 == 0 {
            let floor = floor()?;
            (floor, ours()?)
        } else {
            let ours = ours()?;
            (floor()?, ours)
        };
        pairs.push(floor, ours);
    }
    Ok(pairs)
}

impl Pairs {
    pub(crate) fn push(&mut self, floor: f64, ours: f64) {
        self.floor.push(floor);
        self.ours.push(ours);
    }

    pub(crate) fn floor(&self) -> f64 {
        median(self.floor.clone())
    }

    pub(crate) fn ours(&self) -> f64 {
        median(self.ours.clone())
    }

    /// The median of the pairwise ratios. Not the ratio of the medians: those may come from different moments.
    pub(crate) fn ratio(&self) -> f64 {
        median(self.ratios())
    }

    /// The least and the greatest ratio.
    pub(crate) fn spread(&self) -> (f64, f64) {
        let ratios = self.ratios();
        let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
        let greatest = ratios.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        (least, greatest)
    }

    fn ratios(&self) -> Vec<f64> {
        let pairs = self.floor.iter().zip(&self.ours);
        pairs.map(|(floor, ours)| ours / floor).collect()
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn the_median_is_the_middle_or_between_the_two_middles() {
        assert_eq!(median(vec![9.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 9.0]), 3.0);
        assert!(median(Vec::new()).is_nan());
    }

    #[test]
    fn the_ratio_is_that_of_pairs_so_one_noisy_moment_of_both_leaves_it() {
        let mut pairs = Pairs::default();
        for (floor, ours) in [(100.0, 50.0), (10.0, 5.0), (100.0, 80.0)] {
            pairs.push(floor, ours);
        }
        assert_eq!(pairs.ratio(), 0.5);
        assert_eq!(pairs.spread(), (0.5, 0.8));
        assert_eq!((pairs.floor(), pairs.ours()), (100.0, 50.0));
    }

    #[test]
    fn floor_and_ours_alternate_and_so_does_who_is_first() {
        let order = RefCell::new(String::new());
        let slice = |who, value| {
            order.borrow_mut().push(who);
            Ok(value)
        };
        let pairs = alternate(3, || slice('f', 2.0), || slice('o', 1.0)).unwrap();
        assert_eq!(order.into_inner(), "fooffo");
        assert_eq!(pairs.ratio(), 0.5);
    }
}
