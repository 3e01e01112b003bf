//! Cases that take long.

/// Cases that repeat a call thousands of times. Most runs leave them out.
pub(crate) const REPETITIVE: [&str; 8] = [
    "reg_9_registering_never_stops_working",
    "reg_9_no_number_is_used_up",
    "mod_1_every_change_counts",
    "mode_6_arming_never_stops_working",
    "ready_1_no_wait_of_many_reports_idle_sources",
    "wait_1_zero_does_not_sleep",
    "wait_7_events_never_stop",
    "proc_2_wakes_never_stop",
];
