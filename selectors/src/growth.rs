//! How lists grow that have an element for each source.

/// Appends to a list. What is allocated for nothing is at most an eighth of it, once it is not
/// short.
#[inline]
pub(crate) fn push<T>(list: &mut Vec<T>, element: T) {
    if list.len() == list.capacity() {
        grow(list, 1);
    }
    list.push(element);
}

/// Makes room for so many more elements, and some to come: twice as many in all while they are few,
/// and then an eighth more, where a vector would go on doubling.
#[cold]
#[inline(never)]
pub(crate) fn grow<T>(list: &mut Vec<T>, more: usize) {
    let some = if list.len() < 64 { list.len().max(4) } else { list.len() / 8 };
    list.reserve_exact(more.max(some));
}

#[cfg(test)]
mod tests {
    use super::push;

    #[test]
    fn little_is_allocated_for_nothing_in_few_steps() {
        let (mut list, mut steps) = (Vec::new(), 0);
        for element in 0..100_000_u32 {
            let before = list.capacity();
            push(&mut list, element);
            steps += usize::from(list.capacity() != before);
            let spare = list.capacity() - list.len();
            assert!(spare <= list.len() / 8 || list.len() <= 64, "{spare} beside {}", list.len());
        }
        assert!(steps < 100, "{steps} allocations");
    }
}
