# Class graphs: how many neighbours points have, and what a net that memorises their colouring tells about them.


rule count_degrees:
    input:
        data=lambda w: plan.graph_data(w.graphs),
        features=lambda w: f"results/features/{plan.config['graphs'][w.graphs]['paths']}.safetensors",
    output:
        degrees="results/tables/graphs/{graphs}/degrees.parquet",
        degrees_csv="results/tables/graphs/{graphs}/degrees.csv",
    log:
        "results/logs/count_degrees/{graphs}.log",
    resources:
        mem_mb=6000,
        runtime=240,
    params:
        settings=lambda w: {
            key: plan.config["graphs"][w.graphs][key]
            for key in ("densities", "components")
        },
        version=plan.version("count_degrees"),
    script:
        "../scripts/count_degrees.py"


rule score_colouring:
    input:
        data=lambda w: plan.graph_data(w.graphs),
    output:
        scores="results/tables/graphs/{graphs}/scores.parquet",
        scores_csv="results/tables/graphs/{graphs}/scores.csv",
        idea="results/tables/graphs/{graphs}/idea.safetensors",
    log:
        "results/logs/score_colouring/{graphs}.log",
    benchmark:
        "results/benchmarks/score_colouring/{graphs}.jsonl"
    threads: 1
    resources:
        gpu=plan.gpu,
        mem_mb=6000,
        runtime=720,
    params:
        settings=lambda w: plan.colouring_settings(w.graphs),
        recipe=lambda w: plan.recipe(plan.colouring_settings(w.graphs)["recipe"]),
        precision=lambda w: plan.precision(plan.colouring_settings(w.graphs)["recipe"]),
        device=plan.config["device"],
        version=lambda w: plan.version(
            "score_colouring",
            *plan.model_modules(plan.colouring_settings(w.graphs)["model"]),
        ),
    script:
        "../scripts/score_colouring.py"
