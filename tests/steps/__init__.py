"""Tests of the steps; a package, so that its modules may share their names with tests of the same-named parts."""
