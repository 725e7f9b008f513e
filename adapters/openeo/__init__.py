"""openEO back-ends as a platform."""
