"""The built-in camera rules, one for each kind of file.

They are tried in this order, after the rules of the user's settings file.
"""

from __future__ import annotations

from gpuanom.cameras.rules import AMPLIFIERS, ANY, ESO_OUTPUT, SUBARU_CHANNELS, CameraRule, Exclusions


def _words(*words: str) -> tuple[str, ...]:
    """Patterns of texts that contain one of the words or its plural: 'arc' is in 'ARC 2', not in 'research'."""
    forms = [form for word in words for form in (word, f"{word}s")]
    return tuple(p for w in forms for p in (w, f"{w}[!a-z]*", f"*[!a-z]{w}", f"*[!a-z]{w}[!a-z]*"))


def _starts(*words: str) -> tuple[str, ...]:
    """Patterns of texts that contain a word with one of these beginnings: 'focus' is in 'FOCUSING'."""
    return tuple(p for w in words for p in (f"{w}*", f"*[!a-z]{w}*"))


def _ends(*words: str) -> tuple[str, ...]:
    """Patterns of texts that contain a word with one of these endings: 'flat' is in 'skyflat' and in 'DOMEFLAT,2'."""
    return tuple(p for w in words for p in (f"*{w}", f"*{w}s", f"*{w}[!a-z]*", f"*{w}s[!a-z]*"))


_CALIBRATIONS = (
    *_words("zero", "arc", "test", "engtest", "pointing", "comp", "lamp", "wave", "dome", "indome", "twilight"),
    *_words("calib", "calibration", "acq", "acquisition", "cwfs", "ccob", "overscan", "projector"),
    *_starts("bias", "dark", "flat", "focus", "comparison"),
    *_ends("bias", "dark", "flat", "focus"),
)
_ONLY_CALIBRATIONS = ("bias", "dark", "flat", "zero", "arc", "focus", "domeflat", "skyflat", "calib", "calibration")
_NOT_SKY: Exclusions = (
    *(
        (keyword, _CALIBRATIONS)
        for keyword in (
            *("OBSTYPE", "IMAGETYP", "EXPTYPE", "DATA-TYP", "OBS-TYPE", "OBS_TYPE", "IMGTYPE", "IMAGETYPE", "FLAVOR"),
            *("ESO DPR TYPE", "DPR TYPE", "DPRTYPE", "FRAMETYP", "FRMTYPE", "VIMTYPE", "CCDTYPE", "EXP_TYPE"),
        )
    ),
    *((keyword, ("calib*", "test", "technical", "acq*")) for keyword in ("ESO DPR CATG", "DPR CATG", "DPRCATG")),
    # SBIG and MaxIm write numbers: 1 is a light frame, 2 a bias, 3 a dark and 4 a flat.
    ("PICTTYPE", ("2", "3", "4", *_CALIBRATIONS)),
    # Other observatories use these keywords for something else, so the value must be one of the
    # words alone.
    *((keyword, _ONLY_CALIBRATIONS) for keyword in ("OBSMODE", "FRAME")),
)
_STACKS: Exclusions = (
    ("PROCTYPE", _starts("stack", "coadd", "resampled")),
    ("PRODTYPE", _starts("stack", "coadd")),
    ("OBSTYPE", _starts("stack", "coadd")),
)
# Names of HDUs: first those for kinds of planes, then those that only one program writes.
_PLANES = (
    *_ends("mask", "err", "var", "weight", "uncert", "rms", "flag"),
    *_words("msk", "mskimg", "wgt", "wht", "wt", "wtmap", "weightmap", "error", "variance", "varmap", "uncertainty"),
    *_words("unc", "flagmap", "flg", "bpm", "badpix", "badpixmap", "quality", "qual", "dq", "sigma", "sigmap"),
    *_words("stddev", "ivar", "invvar", "exptimemap", "coverage", "conf", "confmap", "confidence", "ctx", "con", "bkg"),
    *_words("background", "psf", "psfimage", "psfex", "segm", "segmentation", "segmap"),
    *_starts("mask", "weight", "dq", "kernel"),
    # The exposure maps of HST and its distortion tables, which are stored as images; the stamps of
    # kbmod.
    *("samp", "time", "wcsdvarr", "d2imarr", "npolext", "wcscorr", "stamp", "stamps", "stamp_*"),
    *("exp", "*expmap*", "skymodel*", "sky_model*"),
)
_DECAM_SENSORS = ("FS[0-9]*", "FN[0-9]*")
_CP_FILES = ("ooi", "ood")

BUILTIN_RULES: tuple[CameraRule, ...] = (
    CameraRule(
        # Raw LSST files have EXTTYPE = 'IMAGE' too; only calibrated exposures have one of the
        # other cards.
        name="LSST calexp",
        match=(("EXTTYPE", "IMAGE"), ("AR_HDU|FLUXMAG0|EXPINFO_V", "*")),
        level="calexp",
        # EXPID numbers exposure and CCD together here, so it is no exposure id.
        exposure=("EXPNUM", "VISIT", "EXP-ID", "OBSID"),
        band=("FILTER",),
        date=("DATE-OBS", "DATE-AVG"),
        ccd=("CCDNUM", "DET-ID", "EXTNAME"),
        saturation=(),
        not_sky=_NOT_SKY,
        not_ccds=_PLANES,
        mask="mp-cards",
        mask_hdu="MASK",
    ),
    CameraRule(
        name="DECam InstCal",
        match=(("INSTRUME", "DECam"), ("PROCTYPE", "InstCal")),
        camera="DECam",
        exposure=("EXPNUM", "OBSID"),
        band=("BAND", "FILTER:word"),
        ccd=("EXTNAME", "DETPOS", "CCDNUM"),
        saturation=("SATURATE", "SATURATA+SATURATB"),
        not_sky=_NOT_SKY,
        stacks=_STACKS,
        skip_ccds=_DECAM_SENSORS,
        not_ccds=_PLANES,
        version=("PLVER", "name"),
        mask="decam-cp",
        mask_file=_CP_FILES,
    ),
    CameraRule(
        name="DECam raw",
        match=(("INSTRUME", "DECam"), ("PROCTYPE", "RAW")),
        camera="DECam",
        level="raw",
        exposure=("EXPNUM", "OBSID"),
        band=("FILTER:word",),
        ccd=("EXTNAME", "DETPOS", "CCDNUM"),
        saturation=("SATURATA+SATURATB", "SATURATE"),
        not_sky=_NOT_SKY,
        stacks=_STACKS,
        skip_ccds=_DECAM_SENSORS,
        trim=("DATASECA+DATASECB", "TRIMSEC", "DATASEC"),
        full_size=(2160, 4146),
    ),
    CameraRule(
        # Mosaic3, 90Prime and other cameras of the same pipeline, whose quality planes have always
        # held codes.
        name="Community Pipeline InstCal",
        match=(("PROCTYPE", "InstCal"), ("INSTRUME", "*")),
        exposure=("EXPNUM", "OBSID"),
        band=("BAND", "FILTER:word"),
        ccd=("EXTNAME", "CCDNUM"),
        not_sky=_NOT_SKY,
        stacks=_STACKS,
        not_ccds=_PLANES,
        version=("PLVER", "name"),
        mask="cp-codes",
        mask_file=_CP_FILES,
    ),
    CameraRule(
        # Tried after the InstCal rules, because InstCal files have DES_EXT too.
        name="DESDM",
        match=(("DES_EXT", "IMAGE"),),
        camera="DECam",
        level="desdm",
        exposure=("EXPNUM",),
        band=("BAND", "FILTER:word"),
        ccd=("CCDNUM",),
        saturation=("SATURATE", "SATURATA+SATURATB"),
        not_sky=_NOT_SKY,
        stacks=_STACKS,
        not_ccds=_PLANES,
        mask="desdm",
        mask_hdu="MSK",
    ),
    CameraRule(
        name="MegaCam",
        match=(("INSTRUME", "MegaPrime*"), ("DETECTOR", "MegaCam*")),
        camera="MegaCam",
        exposure=("EXPNUM", "OBSID"),
        band=("FILTER:letter",),
        ccd=("EXTNAME",),
        not_sky=_NOT_SKY,
        stacks=_STACKS,
        not_ccds=_PLANES,
        trim=("DSECA+DSECB", "DATASEC"),
        full_size=(2112, 4644),
    ),
    CameraRule(
        name="HSC",
        match=(("EXP-ID", "HSC*"),),
        camera="HSC",
        exposure=("EXP-ID",),
        band=("FILTER01",),
        ccd=("DET-ID",),
        not_sky=_NOT_SKY,
        skip_ccds=tuple(str(n) for n in range(104, 112)),
        not_ccds=_PLANES,
        trim=(SUBARU_CHANNELS,),
        # The CD matrix turns with the instrument rotator, so it does not show how a CCD is
        # mounted. These four CCDs are mounted a quarter turn from the others, which differ from
        # each other by half turns only.
        quarter_ccds=("100", "101", "102", "103"),
    ),
    CameraRule(
        # No CCD of this camera is known to be mounted a quarter turn from the others.
        name="Suprime-Cam",
        match=(("INSTRUME", "SuprimeCam"),),
        exposure=("EXP-ID",),
        band=("FILTER01",),
        ccd=("DET-ID",),
        not_sky=_NOT_SKY,
        not_ccds=_PLANES,
        trim=(SUBARU_CHANNELS,),
    ),
    CameraRule(
        # Not verified on real files.
        name="KiDS OmegaCAM",
        match=(("INSTRUME", "OMEGACAM"),),
        camera="OmegaCAM",
        exposure=("ARCFILE", "DATE-OBS"),
        band=("ESO INS FILT1 NAME", "FILTER"),
        ccd=("EXTNAME", "ESO DET CHIP ID"),
        not_sky=(
            ("ESO DPR TYPE", _CALIBRATIONS + _starts("std", "dome")),
            *(entry for entry in _NOT_SKY if entry[0] != "ESO DPR TYPE"),
        ),
        stacks=_STACKS,
        not_ccds=_PLANES,
        trim=(ESO_OUTPUT,),
    ),
    CameraRule(
        # In LCO files with an HDU for each amplifier, each amplifier is measured as a CCD.
        name="LCO",
        match=(("ORIGIN", "LCOGT"),),
        exposure=("ORIGNAME",),
        not_sky=_NOT_SKY,
        stacks=_STACKS,
        not_ccds=_PLANES,
        trim=("DATASEC",),
    ),
    CameraRule(
        # One file for each quadrant, with a mask file. Bits of the mask: ZTF's data explanation,
        # section 4.1.
        name="ZTF",
        match=(("INSTRUME", "ZTF/MOSAIC*"),),
        camera="ZTF",
        exposure=("EXPID",),
        band=("FILTER",),
        date=("SHUTOPEN", "DATE-OBS"),
        ccd=("CCDID+QID", "CCD_ID+EXTNAME", "RCID", "EXTNAME"),
        not_sky=_NOT_SKY,
        stacks=_STACKS,
        not_ccds=_PLANES,
        mask="bits",
        mask_file=("sciimg", "mskimg"),
        mask_values=(
            *(("1", "streak"), ("2", "star"), ("4", "low_weight"), ("8", "bad"), ("16", "bad"), ("32", "other")),
            *(("64", "other"), ("128", "cosmic_ray"), ("256", "saturated"), ("512", "bad"), ("1024", "no_value")),
            *(("2048", "star"), ("4096", "other"), ("8192", "other"), ("16384", "other")),
        ),
    ),
    CameraRule(
        name=ANY,
        ccd=("EXTNAME", "CCDNUM", "DET-ID"),
        not_sky=_NOT_SKY,
        stacks=_STACKS,
        not_ccds=_PLANES,
        mask="own",
        mask_hdu="MASK|BPM",
        trim=(AMPLIFIERS, "TRIMSEC", "DATASEC", ESO_OUTPUT),
        turn="mosaic",
    ),
)
"""The built-in rules, in the order in which they are tried; the last rule fits every file."""
