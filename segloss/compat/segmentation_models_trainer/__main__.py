"""The program's command line, `pytorch-smt`, with segloss's losses in place of its own."""

from segloss.compat.segmentation_models_trainer.installation import install

if __name__ == "__main__":
    install()

    from pytorch_segmentation_models_trainer.main import main

    main()
