//! The rules, in the order in which they are published.

use super::Rule;

macro_rules! rules {
    ($($id:literal $text:literal $reason:literal $pitfall:literal)+) => {
        /// The contract, rule by rule.
        ///
        /// # Examples
        ///
        /// ```
        /// use selectors_testkit::contract::RULES;
        ///
        /// assert!(RULES.iter().any(|rule| rule.id == "READY-7"));
        /// ```
        pub const RULES: &[Rule] =
            &[$(Rule { id: $id, text: $text, reason: $reason, pitfall: $pitfall }),+];
    };
}

rules! {
    "REG-1"
    "Registering returns a token. The key under it contains the file object, its descriptor, the interest, the mode and the data exactly as they were passed."
    "Python's `SelectorKey` promises it."
    "a selector or wrapper that normalises the interest before it stores it"

    "REG-2"
    "An empty interest parks a source, when registering and when modifying, in every mode: until it is modified, the source stays registered under its token, the kernel does not watch it, it is not reported, not even for a hang-up or an error, and no wait ends or spins because of it. No backend receives an empty interest. The rules on what may be registered apply to parked sources as well."
    "Back-pressure: a server stops reading from a client to which it cannot write, and the selector owns the file object."
    "a mask of zero is passed to the kernel, which reports hang-ups and errors nevertheless"

    "REG-3"
    "An interest with unknown bits is refused with `InvalidInterest`, and nothing changes."
    "They would reach the kernel as unintended flags."
    "a mask that drops the unknown bits silently"

    "REG-4"
    "A descriptor that is already registered is refused with `AlreadyRegistered`, through the same file object or another one."
    "Python raises KeyError; kernels disagree on what a second registration means."
    "uniqueness is checked by object instead of descriptor"

    "REG-5"
    "A duplicate of a registered descriptor is a separate source, with its own token, and so is the same descriptor in another selector."
    "The kernel distinguishes them, and each can be closed without the other. Programs share listeners and standard input among selectors."
    "identity is taken from the open file instead of the number"

    "REG-6"
    "Every backend refuses a closed descriptor with EBADF when it is registered, and likewise one that cannot be watched (O_PATH). A negative one is refused before it reaches the backend. With `deferred` changes a closed descriptor is accepted, and reported as ERROR under its token until it is unregistered."
    "poll, select and /dev/poll accept any number and fail later, or never."
    "relying on the kernel to check, which only epoll and kqueue do: call fcntl(F_GETFD) first"

    "REG-7"
    "A refused registration leaves no trace in the map or in the kernel, and returns the file object and the data in the error. With `deferred` changes, unregistering returns them."
    "An object lost in an error path is a leak, or a descriptor that is closed unexpectedly."
    "the first of two kernel entries (read and write filters) stays when the second is refused"

    "REG-8"
    "A selector refuses to register its own descriptor. Registering and unregistering any other descriptor that it opened for itself, such as the channel of its waker, does it no harm."
    "It would report itself in every wait, or lose its wakes."
    "the own number is not checked, and the kernel does not check it"

    "REG-9"
    "Unregistering returns the file object, with its flags unchanged, and the data. Afterwards neither backend nor kernel holds a reference to it: when it is dropped, its peer sees end-of-file at once. A second time, or for a token that was never issued, it returns `NotRegistered`."
    "Ownership returns to the caller completely and exactly once."
    "removing from the middle of an array moves another entry, whose index is not updated"

    "REG-10"
    "A token is never valid again after its source was unregistered, even if slot and descriptor are reused."
    "Programs store tokens in lists and timers; one that identified another source would corrupt state silently."
    "tokens made of the descriptor number, or of the slot alone"

    "REG-11"
    "Look-up by file object, iteration, `len` and `contains` always agree."
    "They are Python's `get_key` and `get_map`."
    "one of two tables is updated late or not at all"

    "REG-12"
    "Dropping or closing a selector releases its kernel resources, drops or returns every file object, and leaks no descriptor. Neither does any number of refused calls, modifications, timed waits or recreated kernel objects. Nothing is closed twice."
    "Tests and supervisors create and drop selectors all the time."
    "a descriptor that is stored as a number and closed by no code"

    "REG-13"
    "Every descriptor that a selector opens for itself is close-on-exec."
    "Child processes would inherit it and keep watching."
    "the plain call instead of the one that takes a CLOEXEC flag: epoll_create(2), kqueue(2), pipe(2)"

    "MOD-1"
    "The next `select` uses the new interest alone."
    "A server that has sent everything must stop waiting for WRITE, or it spins."
    "new bits are OR-ed to the old ones, as the kernel's /dev/poll does"

    "MOD-2"
    "Changing only the data makes no system call."
    "Data changes with every message, interest rarely."
    "modify is used to change data"

    "MOD-3"
    "Modifying to the current interest and mode makes no system call, except that it rearms a fired one-shot source. `rearm` causes an edge-triggered source, or a fired one-shot source, to be reported again if it is still ready, and does not change its interest; for a level-triggered source it does nothing."
    "Callers need not remember the current interest, and can ask for an edge that they did not drain."
    "the short cut for an unchanged interest also skips rearming"

    "MOD-4"
    "A refused modify leaves the old state in the map and in the kernel. With `deferred` changes the map has the new state, and the source is reported as ERROR."
    "Otherwise map and kernel disagree, and the wait spins."
    "delete and add instead of modify, without restoring the old state if adding is refused"

    "MOD-5"
    "Modifying an unknown token returns `NotRegistered`."
    "Python raises KeyError."
    "the descriptor in the token is trusted"

    "CLOSE-1"
    "Unregistering succeeds after the descriptor was closed."
    "It is the way to recover from a close elsewhere in the program."
    "EBADF or ENOENT of the kernel's delete is returned"

    "CLOSE-2"
    "Unregistering succeeds after the descriptor's number was reused for another file, and that file is not watched afterwards."
    "Kernels reuse the lowest free number at once."
    "an entry by number remains and watches the new file"

    "CLOSE-3"
    "A reused number never inherits the interest of its earlier registration."
    "The new owner of the number has its own interest."
    "the change is merged with a kernel entry that survived the close: /dev/poll"

    "CLOSE-4"
    "An event of an old open file that is kept alive by a duplicate or a forked child is never delivered under a new token, and does not make the wait spin. If removing the file from the kernel fails, it is tried again later; meanwhile no wait fails, and no other event is lost. Afterwards registered sources are watched as before."
    "epoll watches open files, not descriptors: closing one of two descriptors ends nothing."
    "the kernel's user data is the number; or stale events are dropped, but the kernel keeps reporting them: see `Backend::rebuild`"

    "CLOSE-5"
    "A descriptor that was closed while registered, before, during or between waits and by any thread, is reported as ERROR under its own token, or not at all. Every other source is still reported, and the wait neither spins silently nor fails. A reused number is not watched under the old token if the kernel can distinguish the files."
    "One client's closed descriptor must not stop a server."
    "EBADF of select(2) or POLLNVAL of poll(2) is returned or ignored"

    "READY-1"
    "Idle sources are not reported: readiness is as of this wait, in every mode, and not as of an earlier wait or of the moment an event was queued."
    "Reading from an idle source would block."
    "results of an earlier wait are used again, or queued completions are reported without checking that they are still true"

    "READY-2"
    "Unread data is READ; space in the buffer is WRITE; a full pipe or socket buffer is not."
    "It is the definition of readiness."
    "WRITE is derived from the absence of an error"

    "READY-3"
    "A source that is registered for both directions and ready for both is reported as one event with both bits."
    "Two events would handle one source twice, the second time perhaps after it was unregistered."
    "separate filters come as separate events, and `separate_directions` is not declared"

    "READY-4"
    "READ, WRITE and PRIORITY are reported only if the interest contains them, and every event has at least one of them. An error or a hang-up sets each of READ and WRITE in the interest, or PRIORITY if the interest has neither."
    "A wait must end when there is nothing left to wait for."
    "an error is dropped because no direction is set with it"

    "READY-5"
    "A pending connection makes a listener READ. A finished connect is WRITE. A refused connect is WRITE as well, and ERROR if that hint is declared."
    "connect(2) says to wait for writability and then to read SO_ERROR."
    "a refused connect is reported only as an exception or an end-of-file"

    "READY-6"
    "A peer that closed, half-closed or reset makes a source READ. HANGUP (both directions are shut down), READ_CLOSED (the peer has shut down its writing side) and ERROR are additional hints, reported exactly if they are declared and true."
    "Reading finds the end-of-file; the hints save a system call."
    "end-of-file of one direction is reported as HANGUP, or a hint that is not declared"

    "READY-7"
    "A writer that closes a pipe ends the wait of the reader, and a reader that closes it ends that of the writer, even if the pipe is full. A hang-up also ends a wait for WRITE alone if `write_hangup` is declared."
    "Otherwise a writer waits forever for a pipe that no process drains."
    "a hang-up is checked for READ alone"

    "READY-8"
    "Data before end-of-file can be read before the end is reported."
    "The last output of a child process must not be lost."
    "end-of-file hides READ, so that the caller closes at once"

    "READY-9"
    "Out-of-band data is PRIORITY and nothing else, if `priority` is declared; otherwise an interest in PRIORITY is refused."
    "The urgent byte is not part of the stream."
    "PRIORITY is mapped onto READ"

    "READY-10"
    "An empty datagram is READ."
    "It can be received."
    "READ is derived from the number of available bytes"

    "READY-11"
    "Regular files, directories and the null device are always ready for READ and WRITE, as far as the interest contains them, on every backend and in every mode."
    "POSIX requires it of poll(2) and select(2), and `program < file` should work like `program < pipe`."
    "EPERM of epoll_ctl(2) is returned to the user, or such a source keeps timeouts at zero after it was unregistered"

    "READY-12"
    "Terminals, fifos and character devices behave as with poll(2)."
    "Terminal tools depend on it."
    "some kernels refuse devices that poll(2) accepts"

    "READY-13"
    "A selector with a descriptor of its own, which `nesting` declares, can be registered with another one, and is READ there when it has something to report; with `deferred` changes, as of its last `select`."
    "It allows the loop of one library to run inside that of another."
    "sources that the backend tracks in user space do not make its descriptor readable"

    "MODE-1"
    "Level-triggered, the default: every `select` reports a source until it is drained."
    "A handler may read less than everything."
    "the kernel's default is edge-triggered, or the flag of another source is reused"

    "MODE-2"
    "One-shot: a source is reported once, then not again, not even for a hang-up or an error, until it is modified or rearmed. Every backend supports it."
    "A source can be handed to one thread at a time."
    "hang-ups are reported with an empty mask: poll(2) needs a negative number instead"

    "MODE-3"
    "Edge-triggered, if `edge` is declared: a source is reported once for each change to ready, again on new data, and again after a modify that changes something. Otherwise the mode is refused."
    "It saves a system call if the handler drains the source."
    "refusing is left to the kernel, or a modify does not check whether the source is ready already"

    "MODE-4"
    "Exclusive wake-up, if `exclusive` is declared: of several selectors on one listener at least one wakes, and modifying works. Otherwise the mode is refused."
    "A thousand processes need not wake for one connection."
    "EPOLL_CTL_MOD fails with EINVAL for it: delete and add"

    "MODE-5"
    "The mode belongs to the source; sources of different modes can be in one selector."
    "A listener and its connections need different ones."
    "the mode of the last registration applies to all"

    "MODE-6"
    "A fired one-shot source is not reported in either direction, including the one that was not reported, until it is modified or rearmed; see MOD-3."
    "Its handler may be running on another thread."
    "two kernel entries, of which only the reported one is disarmed"

    "WAIT-1"
    "A timeout of zero never blocks, and reports ready sources. No wait blocks while there is something to report, and what comes ends it at once."
    "A busy program polls in this way between other work."
    "zero is treated as no timeout"

    "WAIT-2"
    "Without a registered source the timeout applies as well; without a timeout the wait ends by a waker or a signal."
    "A loop whose last client left must not spin."
    "an early return when there is nothing to watch, or Winsock's error for empty sets"

    "WAIT-3"
    "An empty list is not returned before the timeout has expired on the monotonic clock; rounding is away from zero."
    "Timers would fire early, and the loop would spin until they are due."
    "milliseconds are truncated instead of rounded up"

    "WAIT-4"
    "Timeouts below a millisecond neither spin nor become zero, and have the resolution that `timeout_resolution` declares."
    "Pacing needs it, and a zero timeout in a loop keeps a core busy."
    "a timeout of 0.3 ms becomes 0 ms"

    "WAIT-5"
    "No timeout is too long: `Duration::MAX`, and any duration beyond the range of the kernel's type, waits on without overflow, panic or EINVAL."
    "People write `Duration::MAX` for a wait without limit."
    "a cast that wraps to a negative or a small number"

    "WAIT-6"
    "A wait that a signal interrupts resumes with the remaining time and loses no event; on request it returns early and reports the interruption. The backend itself returns `Interrupted`."
    "No program expects EINTR because its window was resized (PEP 475)."
    "the backend retries, with the full timeout"

    "WAIT-7"
    "One `select` reports every source that is ready when it is called, once, however many there are; the list grows as needed. No source is reported twice, cut off at a fixed number, or starved, in any mode."
    "Programs conclude from the absence of an event that a source is idle, as they may with poll(2)."
    "the kernel fills the buffer, and the remaining events are left to the next wait, or each wait reports the same first ones"

    "WAIT-8"
    "Descriptors above 1024 work. If the kernel has a limit, which `max_descriptor` declares, higher ones are refused with `DescriptorOutOfRange`."
    "`FD_SET` beyond its array is a classic bug."
    "fd_set and its macros"

    "WAIT-9"
    "A backend appends to the list of events and keeps its contents; a selector replaces them. A wait that fails changes nothing. Events that were taken from the kernel are delivered even if a later call fails that the library makes for itself."
    "A retry must not lose events."
    "the list is cleared at the start of a retry, or when an unrelated call fails"

    "WAIT-10"
    "A source that is unregistered while a list of events is handled has no key afterwards, and its pending event does not reach a source that reused its slot."
    "A chat server removes one client while it handles another."
    "events carry pointers or slots"

    "WAIT-11"
    "A wait without events spends no processor time: no wait loops internally, whatever the kernel reports for masked, closed, half-closed, fired or unregistered sources."
    "A server that uses 100 % of a core while idle is a defect that is easily overlooked."
    "the kernel is asked for more than the interest (a hang-up, an end-of-file), which the selector masks in every iteration"

    "WAIT-12"
    "If the limit on descriptors is lowered, all descriptors are used up, or a filter refuses a newer system call, registered sources are still served, if necessary at a coarser timeout resolution."
    "Servers reach limits when they are busiest, and sandboxes restrict a program after it has started."
    "a helper descriptor is opened during a wait, or a new call is tested once and then assumed to work"

    "PROC-1"
    "A waker works before and during a wait and from any thread. Waking after its selector was dropped is harmless."
    "It is the one part of a selector that other threads use."
    "the reading end of the pipe is closed with the selector, and the next wake is an error or SIGPIPE"

    "PROC-2"
    "Several wakes before a wait are merged into one; none is lost, and none is reported without a call."
    "A lost wake is a hang, a spurious one a spin."
    "the pending flag is cleared before the channel is drained"

    "PROC-3"
    "Selectors, tokens and events are Send if their contents are; wakers are Send, Sync and Clone."
    "Programs start a selector on one thread and run it on another."
    "a raw pointer in a structure"

    "PROC-4"
    "After fork(2) the child does not affect the parent: nothing that it does with its copy changes what the parent watches, takes the parent's events or wakes, or touches a descriptor that does not belong to the selector. In the child every call on an inherited selector returns `Error::Forked`, except dropping and closing it, until `after_fork` has created a kernel object and a waker for it; a backend that does not support this returns `Unsupported`."
    "Supervisors and pre-forking servers fork with selectors open."
    "unregistering the sources one by one on drop, or a shared eventfd: parent and child share the kernel objects"

    "PROC-5"
    "A panic while events are handled leaves the selector usable."
    "Servers catch panics of handlers."
    "state that is taken out of the selector and restored later"

    "PROC-6"
    "A selector that was filled on one thread works on another, even after the first has ended."
    "Programs set up on the main thread and serve on other threads."
    "requests that belong to the thread that submitted them, or thread-local state"

    "PROC-7"
    "`Waker::wake` may be called from a signal handler. A broken waker channel is replaced, and never makes waits return at once."
    "SIGTERM has to end a loop, and little else is safe in a handler."
    "the trigger takes a lock or allocates memory"

    "SHARED-1"
    "A change of a shared selector is effective in the current wait when the call returns, and the caller gets the kernel's error."
    "A thread that registers a connection cannot end the wait of another thread, and needs to learn of a refusal."
    "a changer that queues changes for the next wait, or mistakes a refusal for a source to be tracked in user space"

    "SHARED-2"
    "A wait that begins after unregistering (or dropping the handle) has returned does not report the source, and neither ends nor spins because of it; the current wait may report it. The file object is not used any more."
    "The caller closes the file, or passes it to other code."
    "the source is removed from the kernel after the call has returned, or not at all"

    "SHARED-3"
    "Looked up by the waiting thread, a token finds the data of its own source, or none after that was unregistered, and never that of another source. Data is dropped in the next wait."
    "Other threads make changes while the waiting thread handles events that it has already received."
    "a slot is reused while events of its last source are pending"

    "SHARED-4"
    "No readiness is lost, however arming, firing, modifying and unregistering interleave: a one-shot source that is ready is reported after it was armed, at most once for each time."
    "A lost event is never repeated, because no thread rearms a source that was not reported."
    "the source is marked as armed only after the kernel was changed, so that an immediate event is dropped"

    "SHARED-5"
    "One thread waits at a time. A change does not wait for it to return from `select` or from handling events, and does not end its `select`."
    "The waiting thread may be busy, or make the change itself."
    "a lock that is held during the wait, or while events are handled"

    "SHARED-6"
    "Always-ready files, wakers, modes, interruption, panics and forks behave as with a selector of one thread. A handle may outlive the selector; its calls then return `Closed`."
    "It is the same selector, except that any thread may change it."
    "a source that the changer leaves to the backend is lost between them"
}
