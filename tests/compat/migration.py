"""The tests of the tables in docs/migrating.md, by section and by the name there."""

# ruff: noqa: E501

from __future__ import annotations

TESTS: dict[str, dict[str, list[str]]] = {
    "pytorch_segmentation_models_trainer: compound losses": {
        "`MultiLoss(...)`: total, `{name: loss}`, `{name: extra_info}`": [
            "compat/test_compound_loss_guide.py::test_multi_loss_returns_total_losses_and_extra_information"
        ],
        "three dispatch paths of `get_loss_function`": [
            "compat/test_compound_loss_guide.py::test_the_first_path_that_is_there_decides"
        ],
        "path 3: `instantiate(cfg.loss)`": [
            "compat/test_compound_loss_guide.py::test_the_simple_path_is_what_hydra_instantiates"
        ],
        "no path: ValueError": [
            "compat/test_compound_loss_guide.py::test_no_path_is_an_error_that_names_the_three"
        ],
        "`LossWrapper(name, loss_func)`": [
            "compat/test_compound_loss_guide.py::test_a_wrapped_loss_returns_value_and_extra_information"
        ],
        "mixing `Loss` and `nn` losses": [
            "compat/test_compound_loss_guide.py::test_wrapped_and_own_losses_mix_in_one_multi_loss"
        ],
        "`SegLoss`: batch keys, formula": [
            "compat/test_compound_loss_guide.py::test_the_documented_seg_loss"
        ],
        "`gt_channel_selector` int or slice": [
            "compat/test_compound_loss_guide.py::test_gt_channel_selector_may_be_an_int"
        ],
        "`n_classes`": [
            "compat/test_compound_loss_guide.py::test_n_classes_above_two_is_cross_entropy"
        ],
        "`bce_coef`, `dice_coef`, `tversky_focal_coef`": [
            "compat/test_compound_loss_guide.py::test_coefficients_weight_the_three_terms"
        ],
        "`use_mixed_precision`": [
            "compat/test_compound_loss_guide.py::test_use_mixed_precision_takes_logits_stably"
        ],
        "`use_mixup`, `mixup_alpha`": [
            "compat/test_compound_loss_guide.py::test_use_mixup_and_mixup_alpha"
        ],
        "`use_label_smooth`, `smooth_factor`": [
            "compat/test_compound_loss_guide.py::test_use_label_smooth_and_smooth_factor"
        ],
        "weight schedules, `epoch_thresholds`, `epoch=`": [
            "compat/test_compound_loss_guide.py::test_a_scheduled_weight_ramps_up"
        ],
        "YAML `compound_loss` with `loss_list`": [
            "compat/test_compound_loss_guide.py::test_the_documented_yaml_runs_unchanged"
        ],
        "`update_norm`, `reset_norm`, `sync`": [
            "compat/test_compound_loss_guide.py::test_norms_are_computed_as_documented",
            "foundation/test_distributed.py",
        ],
        "legacy `multi_loss` with `coefs` and switches": [
            "config/dialects/test_frame_field.py::test_the_switches_build_all_seven_losses_in_order"
        ],
        "its own `train`, `Model`, configs and callbacks": [
            "programs/test_segmentation_models_trainer.py::test_the_recipe_trains_the_programs_model_with_its_own_callback"
        ],
        "classes imported from `custom_losses`": [
            "compat/test_segmentation_models_trainer.py::test_making_one_of_the_programs_losses_makes_segloss"
        ],
        "subclasses of its `Loss`": [
            "compat/test_segmentation_models_trainer.py::test_your_subclasses_of_the_programs_losses_stay_what_they_are"
        ],
        "`norm_updated`, `set_norm_updated`": [
            "programs/test_segmentation_models_trainer.py::test_the_programs_callback_computes_norms_once"
        ],
        "checkpoints of its losses": [
            "compat/test_segmentation_models_trainer.py::test_a_checkpoint_of_the_programs_losses_loads"
        ],
        "`CrossfieldAlignLoss` and the other frame-field losses": [
            "frame_field/test_losses.py::test_a_loss_is_the_textbooks"
        ],
    },
    "nn4n: CompositeLoss": {
        "`CompositeLoss(loss_cfg)`, `forward(loss_input_dict)` -> total, `{name: weighted value}`": [
            "compat/nn4n/test_composite_loss.py::test_the_documents_example_runs"
        ],
        "`type`, `params`, `lambda`": [
            "compat/nn4n/test_composite_loss.py::test_gradients_flow_with_the_weights"
        ],
        "types `fr`, `fr_dist`, `rnn_conn`, `state_pred`, `entropy`, `mse`, `hebbian`": [
            "compat/nn4n/test_composite_loss.py::test_every_type_takes_its_inputs"
        ],
        "inputs `states`; `input`, `target`": [
            "compat/nn4n/test_composite_loss.py::test_every_type_takes_its_inputs"
        ],
        "KeyError for missing inputs": [
            "compat/nn4n/test_composite_loss.py::test_missing_inputs_are_named"
        ],
        "validation of the configuration": [
            "compat/nn4n/test_composite_loss.py::test_wrong_configs_are_told_what_is_wrong"
        ],
        "custom components": [
            "compat/nn4n/test_composite_loss.py::test_registered_losses_are_types",
            "compat/nn4n/test_composite_loss.py::test_a_registered_loss_of_sample_lists_gets_its_inputs_in_its_order",
        ],
        "`FiringRateLoss`, `FiringRateDistLoss`, `StatePredictionLoss`, `EntropyLoss`": [
            "compat/nn4n/test_penalties.py::test_a_penalty_is_that_of_its_formula"
        ],
        "`HebbianLoss`": [
            "compat/nn4n/test_penalties.py::test_the_hebbian_penalty_never_writes_pairs_out"
        ],
        "`RNNConnectivityLoss`": [
            "compat/nn4n/test_penalties.py::test_connectivity_is_the_norm_of_the_named_layers_weights"
        ],
    },
    "MMF: losses by name": {
        '`@registry.register_loss("name")` on an `nn.Module` with `forward(sample_list, model_output)`': [
            "config/test_registry.py::test_the_documents_config_builds_the_registered_losses"
        ],
        "`model_config.<model>.losses`: a list of names": [
            "config/test_registry.py::test_the_documents_config_builds_the_registered_losses"
        ],
        "several losses": ["config/test_registry.py::test_built_in_losses_have_names"],
        "`{type, params}`": [
            "config/test_registry.py::test_losses_with_params_and_weights_and_parts"
        ],
        "a loss that returns a dict of tensors": [
            "config/test_registry.py::test_losses_with_params_and_weights_and_parts"
        ],
    },
    "perceptrain: losses of (batch, model)": {
        "`loss_fn(batch, model) -> (loss, metrics)`": [
            "compat/test_perceptrain.py::test_any_loss_becomes_a_function_of_batch_and_model"
        ],
        "`mse_loss`, for pairs and for physics-informed models": [
            "compat/test_perceptrain.py::test_mean_squares_of_pairs_and_of_residuals"
        ],
        "`cross_entropy_loss`": ["compat/test_perceptrain.py::test_losses_by_name"],
        "`get_loss`": ["compat/test_perceptrain.py::test_losses_by_name"],
        "`GradWeightedLoss(...)`": [
            "compat/test_perceptrain.py::test_weights_follow_the_gradients"
        ],
        "batches that are tensors, pairs or dicts": [
            "compat/test_perceptrain.py::test_a_batch_of_another_form_is_unpacked"
        ],
        "a custom function in `Trainer(loss_fn=...)`": [
            "compat/test_perceptrain.py::test_perceptrains_own_trainer_trains_with_both"
        ],
    },
    "A tutorial on custom losses": {
        "a loss as a function": ["compat/tutorial/test_losses.py::test_a_function_is_a_loss"],
        "`WeightedMSELoss(reduction)`": [
            "compat/tutorial/test_losses.py::test_weighted_mse_weights_elements"
        ],
        "`DiceLoss(smooth=1.0)` on tensors of any shape": [
            "compat/tutorial/test_losses.py::test_dice_takes_any_shape"
        ],
        "its demonstration (the comments there say ~0.12 and ~0.70; its code gives 0.064 and 0.479)": [
            "compat/tutorial/test_losses.py::test_the_demonstration_has_the_numbers_of_its_code"
        ],
        "`DiceBCELoss(dice_weight, bce_weight, smooth)`": [
            "compat/tutorial/test_losses.py::test_dice_and_bce_are_weighted"
        ],
        "`CombinedLoss(weights)`": [
            "compat/tutorial/test_losses.py::test_combined_loss_returns_its_components"
        ],
        "`UncertaintyWeightedLoss(num_tasks)`": [
            "compat/tutorial/test_losses.py::test_uncertainty_weights_are_those_of_the_documents_code"
        ],
        "weights learned with the model": [
            "losses/test_combiners.py::test_a_learned_combiner_is_trained_and_saved_with_the_multi_loss"
        ],
        "`test_custom_loss`": ["compat/tutorial/test_losses.py::test_the_documents_test_passes"],
    },
}
