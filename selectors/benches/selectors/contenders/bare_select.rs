//! A loop over select(2), with sets as long as the highest descriptor needs.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use libc::c_ulong;

use super::{Contender, Want, sys};

#[derive(Default)]
pub(crate) struct BareSelect<'a> {
    wanted: [Vec<c_ulong>; 2],
    ready: [Vec<c_ulong>; 2],
    /// How many are watched for WRITE. Without any, no set for it is passed to the kernel.
    writers: usize,
    /// By descriptor.
    sources: Vec<Option<(BorrowedFd<'a>, u64)>>,
}

const BITS: usize = c_ulong::BITS as usize;

impl BareSelect<'_> {
    fn set(&mut self, key: usize, want: Option<Want>) {
        let wrote =
            self.wanted[1].get(key / BITS).is_some_and(|word| word >> (key % BITS) & 1 == 1);
        let wants = [want.is_some(), want.is_some_and(Want::writes)];
        self.writers = self.writers + usize::from(wants[1]) - usize::from(wrote);
        for (set, wanted) in self.wanted.iter_mut().zip(wants) {
            let word = key / BITS;
            if word >= set.len() {
                set.resize(word + 1, 0);
            }
            let mask = 1 << (key % BITS);
            set[word] = if wanted { set[word] | mask } else { set[word] & !mask };
        }
    }
}

impl<'a> Contender<'a> for BareSelect<'a> {
    const NAME: &'static str = "bare select";
    /// The descriptor.
    type Key = usize;

    fn new() -> io::Result<Self> {
        Ok(Self::default())
    }

    fn register(&mut self, fd: BorrowedFd<'a>, want: Want, data: u64) -> io::Result<usize> {
        let key = usize::try_from(fd.as_raw_fd()).unwrap_or(usize::MAX);
        if key >= self.sources.len() {
            self.sources.resize(key + 1, None);
        }
        self.sources[key] = Some((fd, data));
        self.set(key, Some(want));
        Ok(key)
    }

    fn modify(&mut self, key: usize, want: Want) -> io::Result<()> {
        self.set(key, Some(want));
        Ok(())
    }

    fn set_data(&mut self, key: usize, data: u64) {
        if let Some(source) = &mut self.sources[key] {
            source.1 = data;
        }
    }

    fn unregister(&mut self, key: usize) -> io::Result<(BorrowedFd<'a>, u64)> {
        self.set(key, None);
        self.sources[key].take().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    #[inline]
    fn wait(
        &mut self,
        timeout: Option<Duration>,
        mut each: impl FnMut(BorrowedFd<'a>, &mut u64),
    ) -> io::Result<usize> {
        let [wanted_read, wanted_write] = &self.wanted;
        let [read, write] = &mut self.ready;
        read.clone_from(wanted_read);
        let writes = self.writers > 0;
        if writes {
            write.clone_from(wanted_write);
        }
        let mut left = sys::select(read, writes.then_some(write), timeout)?;
        let mut count = 0;
        for (word, &read) in read.iter().enumerate() {
            if left == 0 {
                break;
            }
            let write = if writes { write[word] } else { 0 };
            let mut bits = read | write;
            if bits == 0 {
                continue;
            }
            left = left.saturating_sub((read.count_ones() + write.count_ones()) as usize);
            while bits != 0 {
                let key = word * BITS + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                if let Some((fd, data)) = &mut self.sources[key] {
                    count += 1;
                    each(*fd, data);
                }
            }
        }
        Ok(count)
    }
}
