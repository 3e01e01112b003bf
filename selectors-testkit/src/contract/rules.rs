//! The rules, in the order in which they are published.

use super::Rule;

macro_rules! rules {
    ($($id:literal $text:literal $reason:literal $pitfall:literal)+) => {
        /// The contract, rule by rule.
        pub const RULES: &[Rule] =
            &[$(Rule { id: $id, text: $text, reason: $reason, pitfall: $pitfall }),+];
    };
}

rules! {
    "REG-1"
    "Registering returns a token; the key behind it shows the file object, its descriptor, the interest, the mode and the data exactly as they were given."
    "It is what `SelectorKey` promises in Python."
    "a selector or wrapper that normalises the interest before it stores it"

    "REG-2"
    "An empty interest parks a source, when registering and when modifying, in every mode: it stays registered under its token, the kernel is not asked to watch it, nothing is reported of it, hang-ups and errors included, and no wait ends or spins because of it, until it is modified. No backend sees an empty interest, and the rules on what may be registered hold all the same."
    "Back-pressure: a server stops reading from a client that it cannot write for, and the selector owns the file object."
    "a mask of zero is handed to the kernel, which reports hang-ups and errors all the same"

    "REG-3"
    "Bits without a name are refused in the same way."
    "They would reach the kernel as flags that nobody meant."
    "a mask that drops the unknown bits silently"

    "REG-4"
    "A descriptor that is registered already is refused with `AlreadyRegistered`, through the same file object or another one."
    "Python raises KeyError; kernels disagree on what a second registration means."
    "uniqueness is kept by object and not by descriptor"

    "REG-5"
    "A duplicate of a registered descriptor is a source of its own, with a token of its own."
    "The kernel treats them apart, and each can be closed without the other."
    "identity is taken from the open file and not from the number"

    "REG-6"
    "A closed descriptor is refused with EBADF when it is registered, by every backend, and so is one that nothing can watch (O_PATH); a negative one is refused before the backend hears of it. Where changes are `deferred` it is accepted, and reported as ERROR under its token until it is unregistered."
    "poll, select and /dev/poll take anything and complain later, or never."
    "the kernel is trusted to check, which only epoll and kqueue do: ask fcntl(F_GETFD) first"

    "REG-7"
    "A refused registration leaves nothing behind, neither in the map nor in the kernel, and gives the file object and the data back inside the error; where changes are `deferred`, unregistering gives them back."
    "What is lost in an error path is a leak, and a descriptor that closes unasked."
    "the first of two kernel entries (read and write filters) stays when the second is refused"

    "REG-8"
    "A selector's own descriptor is refused when it is registered with that selector."
    "It would report itself for ever."
    "no check of the own number, where the kernel has none"

    "REG-9"
    "Unregistering gives back the file object, with its flags as they were, and the data; afterwards neither backend nor kernel holds anything of it: when it is dropped, its peer sees the end at once. A second time, or for a token that never was, the answer is `NotRegistered`."
    "Ownership returns to the caller whole, and exactly once; who closes a connection means it."
    "removing from the middle of an array moves another entry, whose index is not updated"

    "REG-10"
    "A token is never valid again once its source was unregistered, also when slot and descriptor are used again."
    "Programs keep tokens in lists and timers; one that comes to name a stranger corrupts silently."
    "tokens made of the descriptor's number, or of a slot alone"

    "REG-11"
    "Looking up by file object, iterating, `len` and `contains` agree with each other at all times."
    "It is Python's `get_key` and `get_map`."
    "one of two tables is updated late or not at all"

    "REG-12"
    "Dropping or closing a selector frees what the kernel holds for it, drops or hands back every file object, and leaks no descriptor; nor does any number of refused calls, modifications, timed waits or rebuilds. Nothing is closed twice."
    "Selectors are made and dropped in tests and supervisors all the time."
    "a descriptor that is kept as a number and closed by nobody"

    "REG-13"
    "Every descriptor that a selector opens for itself is close-on-exec."
    "Children would inherit it and keep watching."
    "the plain call instead of the one that takes a CLOEXEC flag: epoll_create(2), kqueue(2), pipe(2)"

    "MOD-1"
    "The next `select` goes by the new interest and by nothing of the old one."
    "A server that has sent everything must stop waiting for WRITE, or it spins."
    "new bits are OR-ed to the old ones, as /dev/poll does by itself"

    "MOD-2"
    "Changing only the data makes no system call."
    "Data changes with every message; interest seldom does."
    "modify is used to change data"

    "MOD-3"
    "Modifying to the interest and mode that a source has makes no system call, except that it arms a one-shot source that has fired. `rearm` has an edge-triggered source, or a fired one-shot one, reported again if it is still ready, without changing what it is watched for; of a level-triggered one it does nothing."
    "Callers then need not remember what they last asked for, and who has not drained an edge can ask for it."
    "the short cut for what does not change also skips the arming"

    "MOD-4"
    "A refused modify leaves the old state in the map and in the kernel alike. Where changes are `deferred` the map has the new state, and the source is reported as ERROR."
    "Otherwise the kernel reports what the map does not know, and the wait spins."
    "delete and add instead of modify, without adding the old state again when the new one is refused"

    "MOD-5"
    "Modifying an unknown token answers `NotRegistered`."
    "Python raises KeyError."
    "the descriptor in the token is believed"

    "CLOSE-1"
    "Unregistering succeeds after the descriptor was closed."
    "It is how one cleans up after somebody else's mistake."
    "EBADF or ENOENT of the kernel's delete is passed on"

    "CLOSE-2"
    "Unregistering succeeds after the descriptor's number was given to another file, and that file is not watched afterwards."
    "Numbers are reused at once: the lowest one that is free."
    "an entry by number stays behind and watches whatever has the number"

    "CLOSE-3"
    "A number that is used again never inherits the interest of its earlier registration."
    "The new owner of the number asked for something else."
    "a kernel entry that survived the close is added to: /dev/poll"

    "CLOSE-4"
    "An event of an old open file, kept alive by a duplicate or a forked child, is never delivered under a new token, and does not make the wait spin. To get rid of it may fail; then it is tried again later, and meanwhile no wait fails and nothing else is lost. What is registered is watched afterwards as it was before."
    "epoll watches open files and not descriptors: closing one of two ends nothing."
    "the kernel's cookie is the number, or stale events are dropped without ridding the kernel of them: see `Backend::rebuild`"

    "CLOSE-5"
    "A descriptor that was closed while it was registered, before, during or between waits and by any thread, is reported as ERROR under its own token, or not at all; every other source is still reported, and the wait neither spins silently nor fails. A number that is another file's by now is not watched under the old token where the kernel can tell."
    "One bad descriptor of one client must not stop a whole server."
    "EBADF of select(2) or POLLNVAL of poll(2) is passed on or ignored"

    "READY-1"
    "Idle sources are not reported: readiness is as of this wait, in every mode, and not as of an earlier one or of what was queued since."
    "Reading from one would block."
    "results of an earlier wait are read again, or a queue of completions is reported without asking whether they are still true"

    "READY-2"
    "Unread data is READ; space to write is WRITE; a full pipe or socket buffer is not."
    "It is what readiness means."
    "WRITE is taken from the absence of an error"

    "READY-3"
    "A source that is registered for both and ready for both is reported as one event with both bits."
    "Two events for one source handle it twice, the second time perhaps after it is gone."
    "separate filters come as separate events, and `separate_directions` is not declared"

    "READY-4"
    "READ, WRITE and PRIORITY are reported only where they were asked for, and at least one of them always is; an error or a hang-up sets each of READ and WRITE that was asked for, or PRIORITY where neither was."
    "Whoever waits must wake when there is nothing left to wait for."
    "an error is dropped because no direction is set with it"

    "READY-5"
    "A pending connection makes a listener READ. A finished connect is WRITE; a refused one wakes with WRITE too, and with ERROR where that hint is declared."
    "connect(2) says to wait for writability and then to ask SO_ERROR."
    "a refused connect shows only as an exception or an end-of-file"

    "READY-6"
    "A peer that closed, half-closed or reset makes a source READ. HANGUP (both directions are gone), READ_CLOSED (the peer sends no more) and ERROR are hints on top, reported exactly where they are declared and true."
    "Reading finds the end; the hints save a system call to those who can use them."
    "end-of-file of one direction is told as HANGUP, or a hint that the capabilities do not declare"

    "READY-7"
    "A pipe's writer that goes wakes the reader, and a reader that goes wakes the writer, also of a full pipe. A hang-up wakes a source that is watched for WRITE alone, too, where `write_hangup` is declared."
    "A writer that is not woken hangs for ever on a pipe that nobody will drain."
    "a hang-up is only looked at for READ"

    "READY-8"
    "Data followed by end-of-file can be read before the end shows."
    "The last words of a child process count."
    "end-of-file hides READ, so that the caller closes at once"

    "READY-9"
    "Out-of-band data is PRIORITY and nothing else, where `priority` is declared; elsewhere asking for it is refused."
    "The urgent byte is not in the stream."
    "PRIORITY is mapped onto READ"

    "READY-10"
    "An empty datagram is READ."
    "It can be received."
    "READ is derived from the number of bytes that are there"

    "READY-11"
    "Regular files, directories and the null device are always ready for the READ and WRITE that was asked, on every backend, in every mode."
    "POSIX says so of poll(2) and select(2), and `program < file` should work as `program < pipe` does."
    "EPERM of epoll_ctl(2) reaches the user, or such a source keeps a zero timeout going after it is gone"

    "READY-12"
    "Terminals, fifos and character devices behave as with poll(2)."
    "Terminal tools live on it."
    "some kernels refuse devices that poll(2) takes"

    "READY-13"
    "A selector with a descriptor of its own, which `nesting` declares, can be registered with another, and is READ there when it has something to report; where changes are `deferred`, as of its last `select`."
    "It lets one library's loop run inside another's."
    "sources that the backend keeps beside the kernel do not show in its descriptor"

    "MODE-1"
    "Level-triggered, the default: every `select` reports a source until it is drained."
    "It forgives a handler that reads less than everything."
    "the kernel's default is edge-triggered, or the flag is left over from another source"

    "MODE-2"
    "One-shot: reported once, then silent, about hang-ups and errors too, until it is modified. Every backend has it."
    "It hands a source to one thread at a time."
    "hang-ups are reported with an empty mask: poll(2) needs a negative number instead"

    "MODE-3"
    "Edge-triggered, where `edge` is declared: reported once for each new readiness, again on new data, and again after a modify that changes something. Elsewhere refused."
    "It spares a system call to those who drain."
    "refusals are left to the kernel, or a modify does not look at what is ready already"

    "MODE-4"
    "Exclusive wake-up, where `exclusive` is declared: of several selectors on one listener at least one wakes, and modifying works. Elsewhere refused."
    "A thousand processes need not wake for one connection."
    "EPOLL_CTL_MOD answers EINVAL to it: delete and add"

    "MODE-5"
    "Modes belong to sources, and mix freely in one selector."
    "A listener and its connections want different ones."
    "the mode of the last registration goes for all"

    "MODE-6"
    "A fired one-shot source is silent in both directions, also in that which was not reported, until it is modified or rearmed; see MOD-3."
    "Its handler may be at work on another thread."
    "two kernel entries, of which only the one that was reported is silenced"

    "WAIT-1"
    "A timeout of zero never blocks, and reports what is ready."
    "It is how a busy program looks in between."
    "zero is taken for no timeout"

    "WAIT-2"
    "With no source registered the timeout holds all the same; without a timeout it waits for a waker or a signal."
    "A loop whose last client left must not spin."
    "an early return when there is nothing to watch, or Winsock's error for empty sets"

    "WAIT-3"
    "An empty list is not returned before the timeout has passed on the monotonic clock; rounding is away from zero."
    "Timers would fire early, and loop until they do not."
    "milliseconds are cut off instead of rounded up"

    "WAIT-4"
    "Timeouts below a millisecond neither spin nor turn into zero, and are as fine as `timeout_grain` declares."
    "Pacing needs it, and a zero timeout in a loop burns a core."
    "a timeout of 0.3 ms becomes 0 ms"

    "WAIT-5"
    "No timeout is too long: `Duration::MAX`, and whatever the kernel's type cannot hold, waits on, without overflow, panic or EINVAL."
    "`Duration::MAX` is what people write for `for ever`."
    "a cast that wraps to a negative or a small number"

    "WAIT-6"
    "A wait that a signal interrupts goes on with the time that is left and loses no event; on request it ends early and says so. The backend itself answers `Interrupted`."
    "Nobody expects EINTR from a window that was resized (PEP 475)."
    "the backend retries by itself, with the whole timeout"

    "WAIT-7"
    "One `select` reports every source that is ready when it is called, however many, each once; the list grows as it must. Nothing is reported twice, cut at a round number, or starved, in any mode."
    "Programs take the silence of a source for idleness, as they may with poll(2)."
    "the kernel fills the room that there is, and the rest is left to the next wait, or the first so many are reported each time"

    "WAIT-8"
    "Descriptors above 1024 work; where a kernel has a limit, which `max_descriptor` declares, those above are refused with `DescriptorOutOfRange`."
    "`FD_SET` beyond its array is the oldest bug in the book."
    "fd_set and its macros"

    "WAIT-9"
    "A backend appends to the list of events and leaves what it held; a selector replaces it. A wait that fails changes nothing, and what was taken from the kernel is delivered, whatever fails afterwards that the library does for itself."
    "A retry must not lose what was found."
    "the list is cleared at the start of a retry, or when a call fails that has nothing to do with it"

    "WAIT-10"
    "A source that is unregistered while a batch is handled has no key from then on, and its pending event does not reach a source that took its slot."
    "Chat servers remove one client while they handle another."
    "events carry pointers or slots"

    "WAIT-11"
    "With nothing to report no processor time is spent: no wait turns inside itself, whatever the kernel reports of masked, closed, half-closed, fired or unregistered sources."
    "A server that idles at 100 % is a defect that nobody sees until the bill comes."
    "the kernel is asked for more than the interest (a hang-up, an end-of-file), which the selector masks away again and again"

    "WAIT-12"
    "With the limit on descriptors lowered, all descriptors used up, or a newer system call refused by a filter, what is registered goes on being served, at a coarser grain if need be."
    "Servers run into limits when they are busiest, and sandboxes close doors behind a program that has started."
    "a helper descriptor is opened during a wait, or a new call is tried once and trusted for ever"

    "PROC-1"
    "A waker works before and during a wait and from any thread, and outlives its selector harmlessly."
    "It is the one thing of a selector that other threads may touch."
    "the pipe's reading end closes with the selector, and the next wake is an error or SIGPIPE"

    "PROC-2"
    "Many wakes before a wait are one wake; none is lost, none is phantom."
    "A lost wake is a hang, a phantom one a spin."
    "the pending flag is cleared before the channel is drained"

    "PROC-3"
    "Selectors, tokens and events are Send where their contents are; wakers are Send, Sync and Clone."
    "Programs start a selector on one thread and run it on another."
    "a raw pointer in a structure"

    "PROC-4"
    "After fork(2) the parent never notices the child: nothing that the child does with its copy changes what the parent watches, takes its events or wakes, or touches a descriptor that is not the selector's. In the child every call on an inherited selector answers `Error::Forked`, but for dropping and closing it, until `after_fork` has made it whole with a kernel object and a waker of its own; a backend that cannot do that answers `Unsupported` there."
    "Supervisors and pre-forking servers fork with selectors open."
    "unregistering one by one when dropped, or a shared eventfd: the kernel's objects are shared"

    "PROC-5"
    "A panic while events are handled leaves the selector usable."
    "Servers catch panics of handlers."
    "state that is taken out and put back later"

    "PROC-6"
    "A selector that was filled on one thread works on another, also when the first is gone."
    "Programs set up on the main thread and serve on others."
    "requests that belong to the thread that made them, or state in thread-local storage"

    "PROC-7"
    "`Waker::wake` may be called from a signal handler. A waker whose channel broke is replaced, and never makes waits return at once."
    "SIGTERM has to end a loop, and a handler can do nothing else that is safe."
    "a lock, or memory that is allocated, in the trigger"

    "SHARED-1"
    "A change of a shared selector is effective in the wait that is going on, once the call returns, and what the kernel answers is returned to the caller."
    "Whoever registers a connection in another thread has no other way to end the wait, nor to hear of a refusal."
    "a changer that queues changes for the next wait, or takes a refusal for a source that the backend is to keep"

    "SHARED-2"
    "A wait that begins after unregistering (or dropping the handle) has returned does not report the source, nor end or spin because of it; one that was going on may report it. The file object is not touched any more."
    "The caller closes the file, or hands it to somebody else."
    "the kernel is asked to forget the source after the call has returned, or not at all"

    "SHARED-3"
    "Looked up by the waiter, a token finds its own data, or none once its source was unregistered, and never another source's; data is dropped in the next wait."
    "Events that a wait has already taken from the kernel meet what other threads do meanwhile."
    "a slot is used again while events of its last source are under way"

    "SHARED-4"
    "No readiness is lost, however arming, firing, modifying and unregistering interleave: a one-shot source that is armed and ready is reported after it was armed, at most once for each time."
    "What is lost once is lost for ever: nobody arms a source that was not reported."
    "the source is taken for armed only after the kernel was told, so an event that comes at once is dropped"

    "SHARED-5"
    "One thread waits at a time; changes neither wait for it to return from `select` or from what it does between two waits, nor end its `select`."
    "The waiter may be busy, or be the one who changes something."
    "a lock that is held during the wait, or while events are handled"

    "SHARED-6"
    "Always-ready files, wakers, modes, interruption, panics and forks are as with a selector of one thread; handles outlive the selector, and are refused with `Closed` then."
    "It is the same selector, but for who may change it."
    "a source that the changer leaves to the backend is forgotten by one of them"
}
