"""Ablation tables and benchmarks."""
