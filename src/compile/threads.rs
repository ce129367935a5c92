//! The compile threads of a runtime. They start with the first job and again after a fork.
//!
//! Jobs run in *lanes*. As many jobs run at once as the runtime has compile threads. A lane is a pool of Rayon's for
//! one job at a time: Wasmtime spreads the functions of a module over the threads of the pool in which it is called.
//! Two jobs never share a pool. A thread that waits for its job's functions would take up the other job. Whoever waits
//! for the first would then wait for both. The first lane has all the threads. Further lanes have one each.
//!
//! A job that is given up cannot be stopped inside Cranelift. So its lane is *detached*: it no longer counts and the
//! next job gets another lane. When the job is done, the lane comes back or its threads end. Only so many lanes are
//! detached at a time: whoever begins compilations and gives them up shall not get threads without end.

use crate::base::error::{Error, Result};
use crate::base::status::wasm_status as Status;
use crate::compile::compilation::Compilation;
use crate::system::fork;
use crate::system::processors::{self, Processors};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::{Arc, Weak};

/// The names of the compile threads begin like this. A number follows.
pub const COMPILE_THREAD_NAME: &str = "wasm-compile-";

/// Lanes that are detached at a time.
const MOST_DETACHED: usize = 8;

/// The compile threads.
pub struct CompileThreads {
    count: usize,
    processors: Option<Processors>,
    started: Mutex<Option<Started>>,
}

struct Started {
    lanes: Arc<Lanes>,
    /// `fork::generation` in which they were started.
    generation: u64,
}

impl Drop for Started {
    fn drop(&mut self) {
        if self.generation == fork::generation() {
            self.lanes.close();
        } else {
            // The threads exist only in the parent. The locks that they held stay locked.
            core::mem::forget(self.lanes.clone());
        }
    }
}

struct Lanes {
    /// Jobs that run at once. Threads of the first lane.
    count: usize,
    processors: Option<Processors>,
    state: Mutex<LanesState>,
}

#[derive(Default)]
struct LanesState {
    queue: VecDeque<Job>,
    /// Numbers of the jobs that have a place.
    running: Vec<u64>,
    /// Lanes whose jobs were given up and still run.
    detached: usize,
    /// Running jobs that were given up when too many lanes were detached.
    given_up: Vec<u64>,
    idle: Vec<Lane>,
    next_job: u64,
    next_thread: usize,
    /// The runtime is gone.
    is_closed: bool,
}

struct Job {
    number: u64,
    work: Work,
}

/// A job. Must not panic: Rayon would abort.
type Work = Box<dyn FnOnce() -> Delivery + Send>;

/// Delivers the result of a job. Its place is free by then, so that whoever gets the result finds it free. Must not
/// panic either.
pub type Delivery = Box<dyn FnOnce()>;

struct Lane {
    pool: Arc<rayon::ThreadPool>,
    threads: usize,
}

/// A job's place in the queue or in a lane.
#[derive(Clone)]
pub struct Place {
    lanes: Weak<Lanes>,
    job: u64,
}

impl Place {
    /// The job was given up. If it runs, the next one takes its place.
    pub fn free(self) {
        if let Some(lanes) = self.lanes.upgrade() {
            lanes.detach(self.job);
        }
    }
}

impl CompileThreads {
    /// `count` threads on the processors of the process or on those that are named. None is started before the first
    /// job.
    pub fn new(count: usize, processors: Option<Processors>) -> Self {
        Self { count, processors, started: Mutex::new(None) }
    }

    /// Runs `job` on a compile thread.
    #[cfg(test)]
    pub fn run(&self, job: impl FnOnce() + Send + 'static) -> Result<()> {
        let work = move || -> Delivery {
            job();
            Box::new(|| ())
        };
        self.run_for(&Compilation::default(), work)
    }

    /// Runs the job of a compilation on a compile thread. Neither the job nor the delivery of its result may panic. The
    /// caller is interested in the compilation until this returns.
    pub fn run_for(&self, compilation: &Compilation, job: impl FnOnce() -> Delivery + Send + 'static) -> Result<()> {
        self.lanes().run(Box::new(job), |place| compilation.set_place(place))
    }

    fn lanes(&self) -> Arc<Lanes> {
        let generation = fork::generation();
        let mut started = self.started.lock();
        if let Some(threads) = &*started
            && threads.generation == generation
        {
            return threads.lanes.clone();
        }
        let (count, processors) = (self.count, self.processors.clone());
        let lanes = Arc::new(Lanes { count, processors, state: Mutex::default() });
        *started = Some(Started { lanes: lanes.clone(), generation });
        lanes
    }
}

impl Lanes {
    fn run(self: &Arc<Self>, work: Work, place: impl FnOnce(Place)) -> Result<()> {
        let mut state = self.state.lock();
        let number = state.next_job;
        state.next_job += 1;
        state.queue.push_back(Job { number, work });
        place(Place { lanes: Arc::downgrade(self), job: number });
        match self.start_next(&mut state) {
            // Some lane will take it when its job is done.
            Err(_) if state.running.len() + state.detached > 0 => Ok(()),
            Err(e) => {
                let refused = state.queue.pop_back();
                drop(state);
                drop(refused);
                Err(e)
            }
            Ok(()) => Ok(()),
        }
    }

    /// Starts the next job if there is one with a place for it.
    fn start_next(self: &Arc<Self>, state: &mut LanesState) -> Result<()> {
        if state.running.len() >= self.count || state.queue.is_empty() {
            return Ok(());
        }
        let lane = state.lane(self.count, self.processors.as_ref())?;
        if let Some(job) = state.queue.pop_front() {
            state.running.push(job.number);
            let lanes = self.clone();
            lane.pool.clone().spawn(move || lanes.work(lane, job));
        }
        Ok(())
    }

    /// Runs jobs one after another on a thread of the lane.
    fn work(self: Arc<Self>, lane: Lane, mut job: Job) {
        loop {
            let deliver = (job.work)();
            let mut state = self.state.lock();
            if !state.leave(job.number) {
                state.detached -= 1;
                if let Some(next) = state.given_up.pop() {
                    state.leave(next);
                    state.detached += 1;
                }
            }
            let next = if state.running.len() < self.count { state.queue.pop_front() } else { None };
            if let Some(next) = next {
                state.running.push(next.number);
                drop(state);
                deliver();
                job = next;
                continue;
            }
            let stays = !state.is_closed && state.running.len() + state.idle.len() < self.count;
            let ending = if stays {
                state.idle.push(lane);
                None
            } else {
                Some(lane)
            };
            drop(state);
            deliver();
            // Its threads end when they are idle. Nothing waits for them.
            return drop(ending);
        }
    }

    fn detach(self: &Arc<Self>, job: u64) {
        let mut state = self.state.lock();
        if state.detached == MOST_DETACHED {
            // It keeps its place until one of them is done.
            if state.running.contains(&job) {
                state.given_up.push(job);
            }
            return;
        }
        if !state.leave(job) {
            return;
        }
        state.detached += 1;
        // If no thread can be started, a lane takes the next job when its own is done: the detached one at the latest.
        let _ = self.start_next(&mut state);
    }

    /// Ends the idle lanes. The others end after the queue.
    fn close(&self) {
        let mut state = self.state.lock();
        state.is_closed = true;
        let idle = core::mem::take(&mut state.idle);
        drop(state);
        drop(idle);
    }
}

impl LanesState {
    /// Takes a running job's place. False if it has none.
    fn leave(&mut self, job: u64) -> bool {
        let Some(at) = self.running.iter().position(|&number| number == job) else { return false };
        self.running.swap_remove(at);
        self.given_up.retain(|&number| number != job);
        true
    }

    /// A lane for the next job: the one with all threads if no other job runs.
    fn lane(&mut self, count: usize, processors: Option<&Processors>) -> Result<Lane> {
        let threads = if self.running.is_empty() && self.detached == 0 { count } else { 1 };
        let wanted = self.idle.iter().position(|lane| lane.threads == threads);
        if let Some(at) = wanted.or(if threads == 1 { self.idle.len().checked_sub(1) } else { None }) {
            return Ok(self.idle.swap_remove(at));
        }
        let first = self.next_thread;
        match start(first, threads, processors.cloned()) {
            Ok(pool) => {
                self.next_thread += threads;
                Ok(Lane { pool: Arc::new(pool), threads })
            }
            // Fewer threads are better than none.
            Err(e) => self.idle.pop().ok_or(e),
        }
    }
}

fn start(first: usize, threads: usize, processors: Option<Processors>) -> Result<rayon::ThreadPool> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .start_handler(move |_| processors::settle_this_thread(processors.as_ref()))
        .thread_name(move |i| format!("{COMPILE_THREAD_NAME}{}", first + i))
        .build()
        .map_err(|e| Error::new(Status::System, format!("the compile threads could not be started: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, Sender, channel};

    /// A job that tells when it has begun and ends when it is told to.
    fn held(
        threads: &CompileThreads,
        compilation: &Compilation,
        begun: &Sender<&'static str>,
        name: &'static str,
    ) -> Sender<()> {
        let (end, ends) = channel::<()>();
        let begun = begun.clone();
        let job = move || -> Delivery {
            let _ = begun.send(name);
            let _ = ends.recv();
            Box::new(move || _ = begun.send("delivered"))
        };
        threads.run_for(compilation, job).unwrap();
        end
    }

    fn next(begun: &Receiver<&'static str>) -> &'static str {
        begun.recv_timeout(std::time::Duration::from_secs(20)).unwrap()
    }

    #[test]
    fn a_job_that_is_given_up_frees_its_place() {
        let (threads, (tell, told)) = (CompileThreads::new(1, None), channel());
        let given_up = Arc::<Compilation>::default();
        let interest = given_up.join();
        let end_first = held(&threads, &given_up, &tell, "first");
        assert_eq!(next(&told), "first");
        let wanted = Arc::<Compilation>::default();
        let _wanted = wanted.join();
        let end_second = held(&threads, &wanted, &tell, "second");
        let end_third = held(&threads, &wanted, &tell, "third");
        assert!(told.recv_timeout(std::time::Duration::from_millis(50)).is_err(), "there is one place");
        drop(interest);
        assert_eq!(next(&told), "second", "the first job still runs");
        assert!(told.recv_timeout(std::time::Duration::from_millis(50)).is_err(), "its place was freed once");
        end_first.send(()).unwrap();
        assert_eq!(next(&told), "delivered");
        assert!(told.recv_timeout(std::time::Duration::from_millis(50)).is_err(), "it had no place to give");
        end_second.send(()).unwrap();
        let mut rest = [next(&told), next(&told)];
        rest.sort_unstable();
        assert_eq!(rest, ["delivered", "third"]);
        end_third.send(()).unwrap();
        assert_eq!(next(&told), "delivered");
    }

    #[test]
    fn only_so_many_that_are_given_up_have_threads_beside_the_others() {
        let (threads, (tell, told)) = (CompileThreads::new(1, None), channel());
        let mut ends = Vec::new();
        for _ in 0..=MOST_DETACHED {
            let given_up = Arc::<Compilation>::default();
            let interest = given_up.join();
            ends.push(held(&threads, &given_up, &tell, "begun"));
            assert_eq!(next(&told), "begun");
            drop(interest);
        }
        let wanted = Arc::<Compilation>::default();
        let _wanted = wanted.join();
        ends.push(held(&threads, &wanted, &tell, "wanted"));
        assert!(told.recv_timeout(std::time::Duration::from_millis(50)).is_err(), "the last one keeps its place");
        // Until another one is done.
        ends[0].send(()).unwrap();
        let mut both = [next(&told), next(&told)];
        both.sort_unstable();
        assert_eq!(both, ["delivered", "wanted"]);
        drop(ends);
    }

    #[test]
    fn jobs_that_are_given_up_in_any_order_leave_all_places_free() {
        let (threads, (tell, told)) = (CompileThreads::new(2, None), channel());
        for round in 0..50 {
            let compilations: Vec<_> = (0..4).map(|_| Arc::<Compilation>::default()).collect();
            let mut interests: Vec<_> = compilations.iter().map(|c| Some(c.join())).collect();
            let ends: Vec<_> = compilations.iter().map(|c| held(&threads, c, &tell, "begun")).collect();
            interests[round % 4] = None;
            interests[(round / 4) % 4] = None;
            for end in &ends {
                end.send(()).unwrap();
            }
            let all: Vec<_> = (0..8).map(|_| next(&told)).collect();
            assert_eq!(all.iter().filter(|&&what| what == "delivered").count(), 4);
        }
        // Both places are there.
        let wanted = Arc::<Compilation>::default();
        let _wanted = wanted.join();
        let ends = [held(&threads, &wanted, &tell, "a"), held(&threads, &wanted, &tell, "b")];
        let mut begun = [next(&told), next(&told)];
        begun.sort_unstable();
        assert_eq!(begun, ["a", "b"]);
        drop(ends);
    }
}
