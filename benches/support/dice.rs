//! Chance that is the same in every run.

/// A small generator (PCG's multiplier).
pub struct Dice(pub u64);

impl Dice {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        self.0 >> 32
    }

    pub fn unit(&mut self) -> f64 {
        (self.next() as f64 + 0.5) / (1_u64 << 32) as f64
    }

    /// Log-normal, by Box and Muller.
    pub fn around(&mut self, median: f64, sigma: f64) -> i64 {
        let radius = (-2.0 * self.unit().ln()).sqrt();
        (median * (radius * (std::f64::consts::TAU * self.unit()).cos() * sigma).exp()) as i64
    }
}
