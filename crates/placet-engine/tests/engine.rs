//! One integration binary: scenarios in a small notation, and properties over random commands.

mod engine {
    mod approvals;
    mod asking;
    mod decisions;
    mod delegations;
    mod evidence;
    mod excepted;
    mod exceptions;
    mod executions;
    mod fold;
    mod glass;
    mod governance;
    mod measures;
    mod model;
    mod modes;
    mod notation;
    mod overrides;
    mod permits;
    mod policies;
    mod privacy;
    mod property;
    mod release;
    mod releases;
    mod runs;
    mod sessions;
    mod shadow;
    mod signers;
    mod timing;
    mod trips;
    mod windows;
    mod within;
    mod world;
}
