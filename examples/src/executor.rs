//! A small async executor: worker threads run tasks, and one thread waits for sockets and timers.
//!
//! The thread that waits has the [`SharedSelector`]. Tasks register their sockets from whatever
//! worker they run on, and arm them for what they wait for, in the wait that is going on.

#![expect(missing_debug_implementations, reason = "nobody prints an example")]

use std::collections::{BTreeMap, VecDeque};
use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use selectors::backend::AsSource;
use selectors::{BackendKind, Events, Interest, Mode, Registrar, SharedSelector, Source};

fn lock<S>(mutex: &Mutex<S>) -> MutexGuard<'_, S> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Spawns tasks, and makes sockets and timers for them.
#[derive(Clone)]
pub struct Executor(Arc<Shared>);

struct Shared {
    runnable: Mutex<Runnable>,
    changed: Condvar,
    timers: Mutex<BTreeMap<(Instant, u64), Waker>>,
    next_timer: AtomicU64,
    registrar: Registrar<Arc<Waiters>>,
}

#[derive(Default)]
struct Runnable {
    tasks: VecDeque<Arc<Task>>,
    over: bool,
}

struct Task {
    future: Mutex<Option<Pin<Box<dyn Future<Output = ()> + Send>>>>,
    queued: AtomicBool,
    executor: Arc<Shared>,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            let executor = Arc::clone(&self.executor);
            lock(&executor.runnable).tasks.push_back(self);
            executor.changed.notify_one();
        }
    }
}

/// Runs what `main` makes, and what that spawns, on so many worker threads, until the former is
/// done. What is still running then is dropped.
///
/// # Errors
///
/// Those of making a selector and of waiting.
pub fn run<R, M>(
    backend: BackendKind,
    workers: usize,
    main: impl FnOnce(Executor) -> M,
) -> io::Result<R>
where
    R: Send + 'static,
    M: Future<Output = R> + Send + 'static,
{
    let mut selector = SharedSelector::of_kind(backend)?;
    let executor = Executor(Arc::new(Shared {
        runnable: Mutex::default(),
        changed: Condvar::new(),
        timers: Mutex::default(),
        next_timer: AtomicU64::new(0),
        registrar: selector.registrar(),
    }));
    let result = Arc::new(Mutex::new(None));
    let (main, answer, waker) = (main(executor.clone()), Arc::clone(&result), selector.waker());
    executor.spawn(async move {
        let done = main.await;
        *lock(&answer) = Some(done);
        // A selector that cannot be woken does not wait any more either.
        let _ = waker.wake();
    });
    let shared = &executor.0;
    thread::scope(|scope| {
        for _ in 0..workers.max(1) {
            scope.spawn(|| shared.work());
        }
        let done = shared.wait(&mut selector, || lock(&result).take());
        lock(&shared.runnable).over = true;
        shared.changed.notify_all();
        done
    })
}

impl Shared {
    /// What a worker does: runs tasks until all is over.
    fn work(&self) {
        let mut runnable = lock(&self.runnable);
        while !runnable.over {
            let Some(task) = runnable.tasks.pop_front() else {
                runnable = self.changed.wait(runnable).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            drop(runnable);
            task.queued.store(false, Ordering::Release);
            let waker = Waker::from(Arc::clone(&task));
            let mut future = lock(&task.future);
            let polled = future.as_mut().map(|f| f.as_mut().poll(&mut Context::from_waker(&waker)));
            if polled == Some(Poll::Ready(())) {
                *future = None;
            }
            drop(future);
            runnable = lock(&self.runnable);
        }
    }

    /// What the thread that waits does: wakes the tasks whose sockets or timers are due.
    fn wait<R>(
        &self,
        selector: &mut SharedSelector<Arc<Waiters>>,
        done: impl Fn() -> Option<R>,
    ) -> io::Result<R> {
        let mut events = Events::new();
        loop {
            if let Some(result) = done() {
                return Ok(result);
            }
            let next = lock(&self.timers).first_key_value().map(|(&(due, _), _)| due);
            let timeout = next.map(|due| due.saturating_duration_since(Instant::now()));
            selector.select_into(&mut events, timeout)?;
            for event in &events {
                if let Some(waiters) = selector.get(event.token()) {
                    waiters.wake();
                }
            }
            let mut timers = lock(&self.timers);
            let later = timers.split_off(&(Instant::now(), u64::MAX));
            let due = std::mem::replace(&mut *timers, later);
            drop(timers);
            due.into_values().for_each(Waker::wake);
        }
    }
}

impl Executor {
    /// Runs a future beside the others.
    pub fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        let task = Task {
            future: Mutex::new(Some(Box::pin(future))),
            queued: AtomicBool::new(false),
            executor: Arc::clone(&self.0),
        };
        Arc::new(task).wake();
    }

    /// Lets some time pass.
    #[must_use]
    pub fn sleep(&self, duration: Duration) -> Sleep {
        let number = self.0.next_timer.fetch_add(1, Ordering::Relaxed);
        Sleep { executor: Arc::clone(&self.0), key: (Instant::now() + duration, number) }
    }

    /// What the future comes to, unless that takes longer: then it is dropped.
    pub async fn timeout<R>(&self, limit: Duration, future: impl Future<Output = R>) -> Option<R> {
        let (mut future, mut sleep) = (pin!(future), pin!(self.sleep(limit)));
        poll_fn(|context| match future.as_mut().poll(context) {
            Poll::Ready(result) => Poll::Ready(Some(result)),
            Poll::Pending => sleep.as_mut().poll(context).map(|()| None),
        })
        .await
    }

    /// A socket for tasks. It becomes non-blocking.
    ///
    /// # Errors
    ///
    /// What the kernel refuses.
    pub fn socket<F: AsSource + 'static>(&self, socket: F) -> io::Result<Async<F>> {
        let waiters = Arc::new(Waiters::default());
        // Parked, until a task waits for it.
        let parked = Interest::empty();
        let registrar = &self.0.registrar;
        let source = registrar.register_with(socket, parked, waiters.clone(), Mode::OneShot)?;
        Ok(Async { source, waiters })
    }
}

/// A timer.
pub struct Sleep {
    executor: Arc<Shared>,
    key: (Instant, u64),
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if Instant::now() >= self.key.0 {
            return Poll::Ready(());
        }
        let mut timers = lock(&self.executor.timers);
        timers.insert(self.key, context.waker().clone());
        let is_first = timers.first_key_value().is_some_and(|(key, _)| *key == self.key);
        drop(timers);
        if is_first {
            // It waits for a later one. A selector that is gone waits for nothing.
            let _ = self.executor.registrar.waker().wake();
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        lock(&self.executor.timers).remove(&self.key);
    }
}

/// Who waits for a socket: to read, and to write.
#[derive(Default)]
struct Waiters(Mutex<[Option<Waker>; 2]>);

impl Waiters {
    /// The socket was reported, and so is not armed any more: whoever waits tries again.
    fn wake(&self) {
        let waiting = std::mem::take(&mut *lock(&self.0));
        waiting.into_iter().flatten().for_each(Waker::wake);
    }
}

/// A socket, for any number of tasks, of which at a time one reads and one writes.
pub struct Async<F: AsSource> {
    source: Source<F, Arc<Waiters>>,
    waiters: Arc<Waiters>,
}

impl<F: AsSource> Async<F> {
    /// Tries until it would not block. Dropping the future cancels it: what still comes of it is that
    /// its task is woken once for nothing.
    async fn until_ready<R>(
        &self,
        direction: usize,
        mut attempt: impl FnMut(&F) -> io::Result<R>,
    ) -> io::Result<R> {
        poll_fn(|context| {
            loop {
                match attempt(&self.source) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    result => return Poll::Ready(result),
                }
            }
            let mut waiting = lock(&self.waiters.0);
            waiting[direction] = Some(context.waker().clone());
            // Armed for both if both are waited for, in the wait that is going on.
            let directions = [Interest::READ, Interest::WRITE].into_iter().zip(&*waiting);
            let wanted = directions.filter(|(_, waker)| waker.is_some()).map(|(wanted, _)| wanted);
            match self.source.modify(wanted.collect()) {
                Ok(()) => Poll::Pending,
                Err(error) => Poll::Ready(Err(error.into())),
            }
        })
        .await
    }
}

impl Async<TcpListener> {
    /// The next connection.
    ///
    /// # Errors
    ///
    /// Those of accept(2).
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, peer) = self.until_ready(0, TcpListener::accept).await?;
        stream.set_nonblocking(true)?;
        Ok((stream, peer))
    }
}

impl Async<TcpStream> {
    /// Reads what there is: nothing at the end.
    ///
    /// # Errors
    ///
    /// Those of read(2).
    pub async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.until_ready(0, |mut stream: &TcpStream| stream.read(buffer)).await
    }

    /// Writes all of it.
    ///
    /// # Errors
    ///
    /// Those of write(2).
    pub async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let count = self.until_ready(1, |mut stream: &TcpStream| stream.write(bytes)).await?;
            if count == 0 {
                return Err(ErrorKind::WriteZero.into());
            }
            bytes = &bytes[count..];
        }
        Ok(())
    }
}
