//! One integration binary: scenarios in a small notation, and properties over random commands.

mod engine {
    mod approvals;
    mod decisions;
    mod fold;
    mod governance;
    mod model;
    mod notation;
    mod permits;
    mod policies;
    mod privacy;
    mod property;
    mod sessions;
    mod shadow;
    mod signers;
    mod timing;
    mod windows;
    mod world;
}
