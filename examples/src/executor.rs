//! A small async executor: worker threads run tasks, and one thread waits for sockets and timers.
//!
//! One thread waits with a [`SharedSelector`]. Tasks register and arm their sockets from the worker on
//! which they run, during that thread's wait.

#![expect(missing_debug_implementations, reason = "nobody prints an example")]

use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind, Read, Write};
use std::mem;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use selectors::backend::AsSource;
use selectors::{BackendKind, Error, Events, Interest, Mode, Registrar, SharedSelector, Source};
use socket2::SockRef;

use crate::acceptor::accept;
use crate::timers::{TimerId, Timers};

fn lock<S>(mutex: &Mutex<S>) -> MutexGuard<'_, S> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Spawns tasks, and creates sockets and timers for them.
#[derive(Clone)]
pub struct Executor(Arc<Shared>);

struct Shared {
    queue: Queue,
    timers: Mutex<Timers<Waker>>,
    registrar: Registrar<Arc<Waiters>>,
}

/// Tasks that are ready to run. `None` ends a worker.
type Queue = Sender<Option<Arc<Task>>>;

struct Task {
    future: Mutex<Option<Pin<Box<dyn Future<Output = ()> + Send>>>>,
    queued: AtomicBool,
    queue: Queue,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            // After the end of the executor it has no receiver.
            let _ = self.queue.clone().send(Some(self));
        }
    }
}

/// Runs the future that `main` returns, and the tasks that it spawns, on this many worker threads, until
/// that future completes. The other tasks are then dropped.
///
/// # Errors
///
/// Those of creating a selector and of waiting.
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
    let ((queue, tasks), (answer, result)) = (mpsc::channel(), mpsc::channel());
    let (timers, registrar) = (Mutex::default(), selector.registrar());
    let executor = Executor(Arc::new(Shared { queue, timers, registrar }));
    let (main, waker) = (main(executor.clone()), selector.waker());
    executor.spawn(async move {
        // If waiting has failed, there is no receiver, and no thread to wake.
        let _ = answer.send(main.await);
        let _ = waker.wake();
    });
    let (shared, tasks, workers) = (&executor.0, Mutex::new(tasks), workers.max(1));
    let done = thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| work(&tasks));
        }
        let done = shared.wait(&mut selector, &result);
        (0..workers).for_each(|_| drop(shared.queue.send(None)));
        done
    });
    // Drops the tasks that wait for a timer. The selector has those that wait for a socket.
    let timers = mem::take(&mut *lock(&shared.timers));
    drop(timers);
    done
}

/// Runs tasks until the executor ends.
fn work(tasks: &Mutex<Receiver<Option<Arc<Task>>>>) {
    loop {
        let next = lock(tasks).recv();
        let Ok(Some(task)) = next else { return };
        task.queued.store(false, Ordering::Release);
        let waker = Waker::from(Arc::clone(&task));
        let mut future = lock(&task.future);
        let polled = future.as_mut().map(|f| f.as_mut().poll(&mut Context::from_waker(&waker)));
        if polled == Some(Poll::Ready(())) {
            *future = None;
        }
    }
}

impl Shared {
    /// Waits until there is a result, and wakes the tasks whose sockets or timers are due.
    fn wait<R>(
        &self,
        selector: &mut SharedSelector<Arc<Waiters>>,
        result: &Receiver<R>,
    ) -> io::Result<R> {
        let mut events = Events::new();
        loop {
            if let Ok(result) = result.try_recv() {
                return Ok(result);
            }
            let deadline = lock(&self.timers).next_deadline();
            selector.select_into_until(&mut events, deadline)?;
            for waiters in events.iter().filter_map(|event| selector.get(event.token())) {
                waiters.wake();
            }
            let now = Instant::now();
            while let Some(waker) = { lock(&self.timers).pop_due(now) } {
                waker.wake();
            }
        }
    }
}

impl Executor {
    /// Spawns a task.
    pub fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        let (future, queue) = (Mutex::new(Some(Box::pin(future) as _)), self.0.queue.clone());
        Arc::new(Task { future, queued: AtomicBool::new(false), queue }).wake();
    }

    /// Completes after this time.
    #[must_use]
    pub fn sleep(&self, duration: Duration) -> Sleep {
        Sleep { executor: self.clone(), deadline: Instant::now() + duration, timer: None }
    }

    /// Returns the output of the future, or `None` if it takes longer: the future is then dropped.
    pub async fn timeout<R>(&self, limit: Duration, future: impl Future<Output = R>) -> Option<R> {
        let (mut future, mut sleep) = (pin!(future), pin!(self.sleep(limit)));
        poll_fn(|context| match future.as_mut().poll(context) {
            Poll::Ready(result) => Poll::Ready(Some(result)),
            Poll::Pending => sleep.as_mut().poll(context).map(|()| None),
        })
        .await
    }

    /// Makes a socket non-blocking and registers it for use by tasks.
    ///
    /// # Errors
    ///
    /// Those of the system calls.
    pub fn socket<F: AsSource + 'static>(&self, socket: F) -> io::Result<Async<F>> {
        // A call that blocked would hold up a worker, and with it other tasks.
        SockRef::from(&socket).set_nonblocking(true)?;
        let data = Arc::new(Waiters::default());
        let waiters = Arc::downgrade(&data);
        // Parked, until a task waits for it.
        let parked = Interest::empty();
        let source = self.0.registrar.register_with(socket, parked, data, Mode::OneShot)?;
        Ok(Async { source, waiters })
    }
}

/// A timer.
pub struct Sleep {
    executor: Executor,
    deadline: Instant,
    timer: Option<TimerId>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if Instant::now() >= self.deadline {
            return Poll::Ready(());
        }
        self.cancel();
        let Executor(shared) = self.executor.clone();
        let mut timers = lock(&shared.timers);
        self.timer = Some(timers.insert(self.deadline, context.waker().clone()));
        let is_first = timers.next_deadline() == Some(self.deadline);
        drop(timers);
        if is_first {
            // The waiting thread has a later deadline. If it has ended, waking it does nothing.
            let _ = shared.registrar.waker().wake();
        }
        Poll::Pending
    }
}

impl Sleep {
    fn cancel(&mut self) {
        let waker = self.timer.take().and_then(|timer| lock(&self.executor.0.timers).cancel(timer));
        // After the lock is released: this may be the last reference to the task.
        drop(waker);
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.cancel();
    }
}

/// The tasks that wait for a socket: to read, and to write.
#[derive(Default)]
struct Waiters(Mutex<[Option<Waker>; 2]>);

impl Waiters {
    /// The socket was reported, and is therefore no longer armed: its tasks try again.
    fn wake(&self) {
        let waiting = mem::take(&mut *lock(&self.0));
        waiting.into_iter().flatten().for_each(Waker::wake);
    }
}

/// A socket. Any number of tasks may share it; at a time one of them reads and one writes.
pub struct Async<F: AsSource> {
    source: Source<F, Arc<Waiters>>,
    /// Owned by the selector as well, so that dropping the selector drops the waiting tasks.
    waiters: Weak<Waiters>,
}

impl<F: AsSource> Async<F> {
    /// Tries until the call does not block. Dropping the future cancels it; its task may be woken once more
    /// without reason.
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
            let waiters = self.waiters.upgrade().ok_or(Error::Closed)?;
            let mut waiting = lock(&waiters.0);
            waiting[direction] = Some(context.waker().clone());
            // Armed for both directions if tasks wait for both, during the current wait.
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
    /// Accepts the next connection.
    ///
    /// # Errors
    ///
    /// Those of accept(2).
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.until_ready(0, |listener| accept(listener)?.ok_or(ErrorKind::WouldBlock.into())).await
    }
}

impl Async<TcpStream> {
    /// Reads into the buffer and returns the number of bytes: 0 at end-of-file.
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
