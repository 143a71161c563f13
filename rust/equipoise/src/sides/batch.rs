//! Many problems at once, on all cores. Every row is solved from scratch by the same code as a single call, so the answers do
//! not depend on the number of threads or on which of them took a row.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::{Sides, SidesSolution, SidesSolver};
use crate::error::Error;
use crate::status::{SideStatus, SidesStatus};

/// How often the caller is asked whether to go on.
const PERIOD: Duration = Duration::from_millis(10);
/// A chunk is long enough that taking one costs nothing, and short enough that no thread is left with the last one.
const CHUNK_ROWS_MAX: usize = 32;
const CHUNK_LEVELS_MAX: usize = 4096;
/// What a row costs beside its levels, in levels.
const ROW_LEVELS: usize = 30;
/// Levels that are solved while a thread starts.
const SHORT_LEVELS: usize = 1500;

/// Answers of [`solve_batch`], row by row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// The outcome of each row.
    pub solution: Vec<SidesSolution>,
    /// Sizes of bids and asks, row after row.
    pub size: [Vec<f64>; 2],
}

/// Why a batch has no answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// The caller said so.
    Asked,
    /// There is no memory for the answers.
    Memory,
    /// A row is malformed; the first such row.
    Malformed {
        /// Which row.
        row: usize,
        /// What is wrong with it.
        error: Error,
    },
}

/// A stretch of rows and where its answers go.
struct Chunk<'o> {
    first: usize,
    solution: &'o mut [SidesSolution],
    size: [&'o mut [f64]; 2],
}

/// Solves `rows` problems of `levels` bids and asks on at most `threads` threads, or all cores. `problem` states a row, and may be asked for
/// any row by any thread. `go_on` is called on the calling thread every few milliseconds; once it says no, the threads stop at
/// the end of their row. What is done sooner than threads start is done on the calling thread.
///
/// # Errors
/// When a row is malformed, the caller does not go on, or there is no memory for the answers.
///
/// # Panics
/// When a problem has other numbers of levels than `levels`.
pub fn solve_batch<'a>(
    rows: usize,
    levels: [usize; 2],
    problem: impl Fn(usize) -> Sides<'a> + Sync,
    threads: Option<NonZeroUsize>,
    mut go_on: impl FnMut() -> bool,
) -> Result<Batch, Stopped> {
    // All of the memory is asked for before any of it is touched.
    let [bids, asks] = levels.map(|levels| rows.saturating_mul(levels));
    let mut batch = Batch { solution: room(rows)?, size: [room(bids)?, room(asks)?] };
    batch.solution.resize(rows, UNSOLVED);
    batch.size[0].resize(bids, 0.0);
    batch.size[1].resize(asks, 0.0);
    let short = rows.saturating_mul(levels[0] + levels[1] + ROW_LEVELS) <= SHORT_LEVELS;
    // Counting the cores reads files: a short batch is done by then.
    let threads = if short { None } else { threads.or_else(|| thread::available_parallelism().ok()) };
    let threads = threads.map_or(1, NonZeroUsize::get);
    let length = chunk_rows(rows, levels, threads);
    let stop = AtomicBool::new(false);
    let malformed = Malformed { row: AtomicUsize::new(usize::MAX), error: Mutex::new(None) };
    let chunks = Mutex::new(chunks(&mut batch, levels, length));
    let next = || chunks.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || {
        let mut solver = SidesSolver::new();
        while let Some(chunk) = next() {
            solve_chunk(&mut solver, chunk, levels, &problem, &stop, &malformed);
        }
    };
    let wanted = if short { 0 } else { threads.min(rows.div_ceil(length)) };
    thread::scope(|scope| {
        let (working, done) = channel::<()>();
        let start = |_: &usize| {
            // Dropped at the end of the thread, whatever its end is.
            let working = working.clone();
            let body = || {
                let _working = working;
                work();
            };
            thread::Builder::new().spawn_scoped(scope, body).is_ok()
        };
        // A system that has no more threads to give is used as far as it goes.
        let started = (0..wanted).take_while(start).count();
        drop(working);
        if started == 0 {
            work();
        }
        while let Err(RecvTimeoutError::Timeout) = done.recv_timeout(PERIOD) {
            if !stop.load(Ordering::Relaxed) && !go_on() {
                stop.store(true, Ordering::Relaxed);
            }
        }
    });
    drop(chunks);
    if stop.load(Ordering::Relaxed) {
        return Err(Stopped::Asked);
    }
    let error = malformed.error.lock().unwrap_or_else(PoisonError::into_inner).take();
    match error {
        Some(error) => Err(Stopped::Malformed { row: malformed.row.load(Ordering::Relaxed), error }),
        None => Ok(batch),
    }
}

/// The first malformed row so far. Chunks are taken in order, so every row before it is solved or being solved.
struct Malformed {
    row: AtomicUsize,
    error: Mutex<Option<Error>>,
}

impl Malformed {
    fn found(&self, row: usize, error: Error) {
        let mut kept = self.error.lock().unwrap_or_else(PoisonError::into_inner);
        if row < self.row.load(Ordering::Relaxed) {
            self.row.store(row, Ordering::Relaxed);
            *kept = Some(error);
        }
    }
}

fn solve_chunk<'a>(
    solver: &mut SidesSolver,
    chunk: Chunk<'_>,
    levels: [usize; 2],
    problem: &(impl Fn(usize) -> Sides<'a> + Sync),
    stop: &AtomicBool,
    malformed: &Malformed,
) {
    let Chunk { first, solution, size: [bids, asks] } = chunk;
    for (at, solution) in solution.iter_mut().enumerate() {
        let row = first + at;
        if stop.load(Ordering::Relaxed) || row > malformed.row.load(Ordering::Relaxed) {
            return;
        }
        match solver.solve(&problem(row)) {
            Ok(solved) => *solution = solved,
            Err(error) => return malformed.found(row, error),
        }
        let [bid_size, ask_size] = solver.size();
        bids[at * levels[0]..][..levels[0]].copy_from_slice(bid_size);
        asks[at * levels[1]..][..levels[1]].copy_from_slice(ask_size);
    }
}

/// An empty vector with room; an allocation that fails is the caller's to know.
fn room<T>(length: usize) -> Result<Vec<T>, Stopped> {
    let mut values = Vec::new();
    values.try_reserve_exact(length).map_err(|_| Stopped::Memory)?;
    Ok(values)
}

fn chunk_rows(rows: usize, levels: [usize; 2], threads: usize) -> usize {
    let fair = rows.div_ceil(threads.saturating_mul(4));
    let short = CHUNK_LEVELS_MAX / (levels[0].saturating_add(levels[1])).max(1);
    fair.min(short).clamp(1, CHUNK_ROWS_MAX)
}

fn chunks(batch: &mut Batch, levels: [usize; 2], length: usize) -> impl Iterator<Item = Chunk<'_>> + Send {
    let [mut bids, mut asks] = batch.size.each_mut().map(|size| &mut size[..]);
    batch.solution.chunks_mut(length).enumerate().map(move |(at, solution)| {
        let (bid_rows, bids_left) = std::mem::take(&mut bids).split_at_mut(solution.len() * levels[0]);
        let (ask_rows, asks_left) = std::mem::take(&mut asks).split_at_mut(solution.len() * levels[1]);
        (bids, asks) = (bids_left, asks_left);
        Chunk { first: at * length, solution, size: [bid_rows, ask_rows] }
    })
}

const UNSOLVED: SidesSolution = SidesSolution {
    status: SidesStatus::Zero,
    side: [SideStatus::Blocked; 2],
    objective: 0.0,
    dual_bound: 0.0,
    gap: 0.0,
    scale: 0.0,
    violation: 0.0,
    margin_price: [0.0; 2],
    temperature: [0.0; 2],
    inventory_price: 0.0,
    iterations: 0,
};
