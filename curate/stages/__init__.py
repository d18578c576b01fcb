"""The stages: one module each, a function from the manifest to the columns that the stage owns.

`stratify` is shared by fold and split; `build_cache`, `build_measure` and `build_summary` are parts
of build. A stage imports no other stage, prints nothing and writes nothing outside of the cache;
`run_stage` and `run_build` of the workspace write its result. Three stages read images: `build`
decodes every picture and leaves what it looks like in the cache, from which `inspect` and `dedup`
take it. The others are pure functions of tables.
Algorithms are in the rooms `duplicates` and `label_issues`, not here.
"""
