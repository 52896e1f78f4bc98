//! The claims that come with the program: those of five papers.

/// Each paper's name with its claims.
pub const FILES: [(&str, &str); 5] = [
    ("P0", include_str!("../../../fixtures/claims/p0.toml")),
    ("P1", include_str!("../../../fixtures/claims/p1.toml")),
    ("P2", include_str!("../../../fixtures/claims/p2.toml")),
    ("P3", include_str!("../../../fixtures/claims/p3.toml")),
    ("P4", include_str!("../../../fixtures/claims/p4.toml")),
];
