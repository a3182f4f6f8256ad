"""A config of mmsegmentation with losses of segloss: a U-Net, without its data."""

_base_ = [
    "mmseg::_base_/models/fcn_unet_s5-d16.py",
    "mmseg::_base_/default_runtime.py",
    "mmseg::_base_/schedules/schedule_20k.py",
]
custom_imports = {"imports": ["segloss.training.mmseg"], "allow_failed_imports": False}
model = {
    "decode_head": {
        "num_classes": 3,
        "loss_decode": [
            {"type": "CompoundLoss", "loss_name": "loss_ce", "terms": {"cross_entropy": 1.0}},
            {"type": "CompoundLoss", "loss_name": "loss_dice", "terms": {"dice": 0.5}},
        ],
    },
    "auxiliary_head": {"num_classes": 3, "loss_decode": {"type": "CompoundLoss"}},
}
