"""AssemblyHands' cameras: their names, the views that they belong to, and the files that calibrate them.

On disk: millimetres, world to camera, OpenCV's axes, rectified (pinhole) images. Everything returned here is in metres.
Legend: N annotated frames.
"""

EXO_CAMERAS = (
    'C10095_rgb', 'C10115_rgb', 'C10118_rgb', 'C10119_rgb', 'C10379_rgb', 'C10390_rgb', 'C10395_rgb', 'C10404_rgb',
)  # fmt: skip
# The views of the two headsets, which look the same way.
HEADSETS = (
    ('HMC_84346135', 'HMC_84347414', 'HMC_84355350', 'HMC_84358933'),
    ('HMC_21176875', 'HMC_21176623', 'HMC_21110305', 'HMC_21179183'),
)
EXO_VIEWS = tuple(f'v{number}' for number in range(1, 9))
EGO_VIEWS = tuple(f'e{number}' for number in range(1, 5))
EGO_SUFFIX = '_mono10bit'  # of a camera's folder of images and in the calibration, but not in the list of images
VIEW_OF = dict(zip(EXO_CAMERAS, EXO_VIEWS, strict=True)) | {
    name: view for names in HEADSETS for name, view in zip(names, EGO_VIEWS, strict=True)
}
"""{camera: view}."""
