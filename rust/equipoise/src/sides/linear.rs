//! Dense systems of a handful of unknowns.

/// Most unknowns of a system.
pub(super) const UNKNOWNS_MAX: usize = 9;

/// A square system, factorised in place: Gaussian elimination with partial pivoting on rows of comparable size.
#[derive(Clone, Debug)]
pub(super) struct Dense {
    pub(super) size: usize,
    pub(super) a: [[f64; UNKNOWNS_MAX]; UNKNOWNS_MAX],
    pivot: [u8; UNKNOWNS_MAX],
    scale: [f64; UNKNOWNS_MAX],
}

impl Dense {
    #[inline(always)]
    pub(super) fn new(size: usize) -> Self {
        Self { size, a: [[0.0; UNKNOWNS_MAX]; UNKNOWNS_MAX], pivot: [0; UNKNOWNS_MAX], scale: [1.0; UNKNOWNS_MAX] }
    }

    /// Factorises; a vanishing pivot is replaced, so that an undetermined unknown stays where it is.
    #[inline(always)]
    pub(super) fn factorise(&mut self) {
        let size = self.size.min(UNKNOWNS_MAX);
        for row in 0..size {
            let largest = self.a[row][..size].iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
            self.scale[row] = if largest > 0.0 { 1.0 / largest } else { 1.0 };
            for value in &mut self.a[row][..size] {
                *value *= self.scale[row];
            }
        }
        for column in 0..size {
            let mut best = column;
            for row in column + 1..size {
                if self.a[row][column].abs() > self.a[best][column].abs() {
                    best = row;
                }
            }
            self.pivot[column] = best as u8;
            self.a.swap(column, best);
            let mut head = self.a[column][column];
            if head.abs() < 1e-290 {
                head = 1e290;
                self.a[column][column] = head;
            }
            let inverse = 1.0 / head;
            let top = self.a[column];
            for row in column + 1..size {
                let factor = self.a[row][column] * inverse;
                self.a[row][column] = factor;
                for at in column + 1..size {
                    self.a[row][at] -= factor * top[at];
                }
            }
        }
    }

    /// Solves for one right-hand side, in place.
    #[inline(always)]
    pub(super) fn solve(&self, x: &mut [f64; UNKNOWNS_MAX]) {
        let size = self.size.min(UNKNOWNS_MAX);
        for row in 0..size {
            x[row] *= self.scale[row];
        }
        for column in 0..size {
            x.swap(column, self.pivot[column] as usize);
        }
        for column in 0..size {
            for row in column + 1..size {
                x[row] -= self.a[row][column] * x[column];
            }
        }
        for column in (0..size).rev() {
            let mut value = x[column];
            for at in column + 1..size {
                value -= self.a[column][at] * x[at];
            }
            x[column] = value / self.a[column][column];
        }
    }
}
