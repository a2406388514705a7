//! One integration binary: scenarios in a small notation, and properties over random commands.

mod engine {
    mod approvals;
    mod decisions;
    mod fold;
    mod governance;
    mod model;
    mod notation;
    mod permits;
    mod privacy;
    mod property;
    mod shadow;
    mod signers;
    mod windows;
    mod world;
}
