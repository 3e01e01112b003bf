//! How lists of sources and of events grow.

/// Appends to a list. Unless the list is short, at most an eighth of its capacity is unused; of a long
/// one, at most a sixteenth.
#[cfg(any(unix, test))]
#[inline]
pub(crate) fn push<T>(list: &mut Vec<T>, element: T) {
    if list.len() == list.capacity() {
        grow(list, 1);
    }
    list.push(element);
}

/// Reserves capacity for at least `more` elements: doubles a short list, and grows a longer one by an
/// eighth, or a sixteenth, where a vector would double.
#[cold]
#[inline(never)]
pub(crate) fn grow<T>(list: &mut Vec<T>, more: usize) {
    if list.capacity() == 0 && more <= FIRST {
        // A constant takes fewer instructions.
        *list = Vec::with_capacity(FIRST);
    } else {
        reserve_exact(list, more.max(step(list.len())));
    }
}

/// As [`Vec::reserve`], in fewer instructions for an empty vector.
#[cfg(unix)]
#[inline]
pub(crate) fn reserve<T>(list: &mut Vec<T>, more: usize) {
    if list.capacity() - list.len() < more {
        double(list, more);
    }
}

#[cfg(unix)]
#[cold]
#[inline(never)]
fn double<T>(list: &mut Vec<T>, more: usize) {
    reserve_exact(list, more.max(2 * list.capacity() - list.len()));
}

fn reserve_exact<T>(list: &mut Vec<T>, more: usize) {
    if list.capacity() == 0 {
        // Takes fewer instructions than growing an empty vector.
        *list = Vec::with_capacity(more);
    } else {
        list.reserve_exact(more);
    }
}

/// The capacity of a list after its first element.
pub(crate) const FIRST: usize = 4;

/// By how much a list of this length grows.
#[inline]
pub(crate) fn step(len: usize) -> usize {
    match len {
        0..64 => len.max(FIRST),
        64..1024 => len / 8,
        _ => len / 16,
    }
}

#[cfg(test)]
mod tests {
    use super::{FIRST, grow, push};

    #[test]
    fn what_was_asked_for_fits() {
        for more in [1, FIRST, FIRST + 1, 1000] {
            for mut list in [Vec::new(), vec![0_u8; 10]] {
                grow(&mut list, more);
                assert!(list.capacity() - list.len() >= more, "{more} beside {}", list.len());
            }
        }
    }

    #[test]
    fn little_capacity_is_unused_after_few_allocations() {
        let (mut list, mut steps) = (Vec::new(), 0);
        for element in 0..100_000_u32 {
            let before = list.capacity();
            push(&mut list, element);
            steps += usize::from(list.capacity() != before);
            let spare = list.capacity() - list.len();
            let most = if list.len() <= 1024 { list.len() / 8 } else { list.len() / 16 };
            assert!(spare <= most || list.len() <= 64, "{spare} beside {}", list.len());
        }
        assert!(steps < 120, "{steps} allocations");
    }

    #[cfg(unix)]
    #[test]
    fn there_is_room_beside_the_elements() {
        for (len, more) in [(0, 64), (1, 64), (60, 10), (64, 1), (100, 1000)] {
            let mut list = vec![0; len];
            list.reserve_exact(4);
            super::reserve(&mut list, more);
            assert!(list.spare_capacity_mut().len() >= more, "{more} beside {len}");
        }
    }
}
