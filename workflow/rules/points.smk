rule measure_points:
    input:
        data=lambda w: plan.data_file(plan.dataset(w.study, w.experiment)),
        poisons=lambda w: plan.job_poisons(w.study, w.experiment, w.variant, w.chunk),
        victims="results/victims/{study}/{experiment}/{variant}/{chunk}.safetensors",
        proxy=lambda w: plan.proxy_file(
            plan.experiment(w.study, w.experiment)["points"]
        ),
    output:
        "results/points/{study}/{experiment}/{variant}/{chunk}.parquet",
    log:
        "results/logs/measure_points/{study}/{experiment}/{variant}/{chunk}.log",
    benchmark:
        "results/benchmarks/measure_points/{study}/{experiment}/{variant}/{chunk}.jsonl"
    threads: 1
    resources:
        gpu=plan.gpu,
        mem_mb=4000,
        runtime=240,
    params:
        settings=lambda w: plan.point_settings(
            w.study, w.experiment, w.variant, w.chunk
        ),
        version=lambda w: plan.version(
            "measure_points",
            *plan.evaluation_modules(w.study, w.experiment, w.variant, w.chunk),
        ),
    script:
        "../scripts/measure_points.py"


rule collect_points:
    input:
        lambda w: plan.chunk_files(w.study, w.experiment, "points"),
    output:
        "results/tables/{study}/{experiment}/points.parquet",
    log:
        "results/logs/collect_points/{study}-{experiment}.log",
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        version=plan.version("collect_points"),
    script:
        "../scripts/collect_points.py"


rule detect_flips:
    input:
        data=lambda w: plan.data_file(plan.dataset(w.study, w.experiment)),
        poisons=lambda w: plan.detection_inputs(w.study, w.experiment).values(),
    output:
        "results/tables/{study}/{experiment}/detection.parquet",
    log:
        "results/logs/detect_flips/{study}-{experiment}.log",
    benchmark:
        "results/benchmarks/detect_flips/{study}-{experiment}.jsonl"
    threads: 1
    resources:
        gpu=plan.gpu,
        mem_mb=4000,
        runtime=240,
    params:
        settings=lambda w: plan.detection_settings(w.study, w.experiment),
        version=lambda w: plan.version(
            "detect_flips", *plan.detector_modules(w.study, w.experiment)
        ),
    script:
        "../scripts/detect_flips.py"
