//! CLOSE-4: backends that lose or repeat edges with a new kernel object.

use selectors::Events;

use super::defect::{Answer, Beneath, Defect, Sources};
use super::row::{Row, epoll, rows};

/// Does not take from the old kernel object what it has not reported.
struct DropsEdges;

impl Defect for DropsEdges {
    fn rebuild(&mut self, beneath: &mut Beneath, sources: Sources<'_>, _: &mut Events) -> Answer {
        beneath.backend.rebuild(sources, &mut Events::new())
    }
}

/// Has the new kernel object report everything that is ready, also edges.
struct RepeatsEdges;

impl Defect for RepeatsEdges {
    fn rebuild(
        &mut self,
        beneath: &mut Beneath,
        sources: Sources<'_>,
        events: &mut Events,
    ) -> Answer {
        let mut all: Vec<_> = sources.collect();
        beneath.backend.rebuild(&mut all.clone().into_iter(), events)?;
        for source in &mut all {
            beneath.backend.modify(source.fd, source.token, source.watch, source.watch)?;
        }
        Ok(())
    }
}

rows! {
    "CLOSE-4" drops_edges "drops the edges that its old kernel object has not reported"
        epoll DropsEdges =>
            close_4_a_new_kernel_object_keeps_the_edges;
    "CLOSE-4" repeats_edges "reports edges again with a new kernel object"
        epoll RepeatsEdges =>
            close_4_a_new_kernel_object_keeps_the_edges;
}
