"""Tests of the steps. This folder is a package so that its modules may have the names of modules elsewhere."""
