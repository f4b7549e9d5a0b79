"""Helpers of the tests: servers, stages, fixtures' data and hand-written fakes."""
