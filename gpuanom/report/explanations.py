"""What each cause of a verdict means: what one sees, what usually makes it on a real camera, and what to do.

The report shows these words beside the verdict; docs/what-the-picture-means.md has them with an example of each cause.
"""

from __future__ import annotations

from typing import NamedTuple


class Explanation(NamedTuple):
    """A cause in three sentences or so.

    Attributes
    ----------
    sees : str
        What one sees in the pictures.
    makes : str
        What usually makes it on a real camera.
    do : str
        What to do.
    """

    sees: str
    makes: str
    do: str


_LEAVE_OUT = "Leave the exposure out where shapes of galaxies are measured."
_LEAVE_CCD = "Leave this CCD out; the other CCDs can be used."
_NEXT = "Look at the exposures before and after it; if they are alike, tell the observers."

EXPLANATIONS: dict[str, Explanation] = {
    # Stars and galaxies.
    "elongated": Explanation(
        "The whiskers are long and nearly parallel, on all CCDs or on the one that is named; the stamps are ellipses.",
        "Lost guiding, wind shake, a drifting mount, or an astigmatic focus.",
        f"{_LEAVE_OUT} Photometry with a large aperture may still be good.",
    ),
    "elongated or trailed": Explanation(
        "The orientations of the sources are not spread evenly: their histogram has one broad peak.",
        "Guiding, wind or focus draw the sources out along one direction; a bleeding or badly transferred charge does"
        " the same on one CCD.",
        f"Look at the stamps. {_LEAVE_OUT}",
    ),
    "elongated, trailed or repeated": Explanation(
        "The histogram of the sources' orientations has one or more peaks far above the band of the reference.",
        "Guiding or focus; read-out with an open shutter; a telescope that moved while the shutter was open.",
        f"The stamps tell which of the three it is. {_LEAVE_OUT}",
    ),
    "elongated or doubled": Explanation(
        "The light of the stars is more peaked along a line than usual: the stamps are drawn out or have two maxima.",
        "A jump of the telescope by a few pixels, or strong elongation on one CCD.",
        f"Look at the stamps. {_LEAVE_OUT}",
    ),
    "tilted": Explanation(
        "The preferred direction of the sources changes across the focal plane.",
        "A focal plane that is tilted against the camera's axis, a decentred corrector, or field rotation.",
        "Check the focus and the alignment of the corrector; a model of the PSF that varies over the field may do.",
    ),
    "tilted or coma": Explanation(
        "The whiskers turn, or grow from one side of the focal plane to the other.",
        "A focal plane that is tilted against the camera's axis, a decentred corrector, or field rotation.",
        "Check the hexapod and the focus; a model of the PSF that varies over the field may do.",
    ),
    "repeated images": Explanation(
        "Every star has a second image, at the separation and along the direction that the yellow lines show.",
        "The telescope moved while the shutter was open, or the exposure was begun before it had settled.",
        "Leave the exposure out.",
    ),
    "out of focus": Explanation(
        "The stars of the CCD that is named are larger than those of the other CCDs.",
        "A CCD that lies above or below the others, where the focus is a little off; on all CCDs a bad focus; whatever"
        " draws the stars out on one CCD.",
        f"{_LEAVE_CCD} If the same CCD is named often, fit the focus for it.",
    ),
    "out of focus or coma": Explanation(
        "The stars are flatter in the middle than usual, but hardly wider.",
        "A slight defocus, or coma.",
        "Check the focus; a good model of the PSF can use the exposure.",
    ),
    "out of focus or poor seeing": Explanation(
        "All stars are wider than the conditions explain; the map of the FWHM is even.",
        "Poor seeing, or a focus that is off by little.",
        "Use the exposure where the depth and the size of the PSF allow.",
    ),
    "donut or out of focus": Explanation(
        "The stars are rings or wide, flat discs: the pupil of the telescope.",
        "The focus is far off, as after a focus sweep that was not ended, or a lost focus motor.",
        "Leave the exposure out, and check the focus before the next one.",
    ),
    "few sources": Explanation(
        "Far fewer sources than the sky and the seeing let expect.",
        "Clouds, a shutter that did not open fully, dew, or a wrong exposure time.",
        "Check the zero point; leave the exposure out if it is too shallow.",
    ),
    "few stars among the sources": Explanation(
        "The number of sources tells nothing, but far fewer of them than usual have the shape of a star.",
        "Hot pixels or cosmic rays that no mask names, lost pixels all over the CCDs, bright pixels whose values were "
        "wrapped or cut off, or stars that are rings.",
        "Look at the stamps and at the stars' brightest pixels; check the mask, and the reduction.",
    ),
    "many sources": Explanation(
        "Far more sources than usual.",
        "A crowded field, or spurious sources: cosmic rays, hot pixels, residual images.",
        "Look at the stamps. A crowded field is not bad, but may need a reference of its own.",
    ),
    "sources of an unusual form": Explanation(
        "The autoencoder cannot draw the stamps of many sources well: they have forms that it has not seen.",
        "Whatever changes the form of the sources without a direction: donuts, cosmic rays, bleeding, bad columns.",
        "Look at the stamps.",
    ),
    "like the exposures that were labelled prominent": Explanation(
        "A classifier that learnt from your labels takes the exposure for one of those that were labelled prominent.",
        "Whatever your labels were given for.",
        "Look at the exposure, and label it, so that the classifier learns.",
    ),
    "streak": Explanation(
        "A straight line across one or more CCDs; the page draws it, and the region file of DS9 has it.",
        "A satellite, an aeroplane, or a bright meteor.",
        "Mask the line. By itself it makes no exposure bad: the verdict stays ok.",
    ),
    # The background, with a direction.
    "stripes": Explanation(
        "Parallel stripes of the period and direction that the lines show; the finest are too narrow for the map.",
        "Electronic interference at read-out, fringes in red bands, or banding of an amplifier.",
        "Narrow stripes hardly change the photometry, but do change shapes of faint galaxies. Look for the interference"
        " if the period stays the same from night to night.",
    ),
    "stripes or waves": Explanation(
        "The gradients of the background prefer one direction everywhere, and no single period stands out.",
        "Stripes of several periods, fringes, or the moon's light scattered in parallel bands.",
        "Look at the map and at the picture; subtract a model of the pattern, or leave the exposure out.",
    ),
    "waves": Explanation(
        "The gradients of the background prefer a direction that turns from CCD to CCD.",
        "Fringes, tree rings that the flat field left, or wide waves of scattered light.",
        "Check the fringe correction and the flat field.",
    ),
    "waves or stripes": Explanation(
        "On the CCD that is named the gradients of the background prefer a direction.",
        "Interference or fringes on one CCD, or a reflection with a long edge.",
        _LEAVE_CCD,
    ),
    "waves or stripes of the background": Explanation(
        "The histogram of the background's orientations, after its slope is taken off, has a peak.",
        "Stripes, fringes or waves that are too weak or too irregular to have a period.",
        "Look at the map, and compare it with exposures of the same band.",
    ),
    "a slope, waves or stripes": Explanation(
        "On the CCD that is named the background slopes, or has waves or stripes.",
        "Scattered light at the edge of the field, or an amplifier whose level drifts.",
        _LEAVE_CCD,
    ),
    "a slope, waves or stripes of the background": Explanation(
        "The gradients of the background all point the same way: the sky rises across each CCD.",
        "Moonlight, twilight, zodiacal light, or scattered light of a bright star beside the field.",
        "Check that the sky is subtracted with a plane or a finer model.",
    ),
    # The background, its level and its noise.
    "bright sky": Explanation(
        "The sky is far brighter than usual on all CCDs alike.",
        "Moonlight, twilight, a bright cirrus, or an open dome light.",
        "The exposure is shallow; use it where its depth suffices.",
    ),
    "dark sky": Explanation(
        "The sky is far darker than usual on all CCDs alike.",
        "A shorter exposure than the header says, a half closed dome or shutter, or an overscan subtracted twice.",
        "Compare the number of sources and the zero point with those of the neighbours.",
    ),
    "glow or bright sky": Explanation(
        "One CCD has a brighter sky than the others.",
        "Light of a bright star or of the moon that reaches a part of the field, an amplifier that glows, or a light"
        " leak.",
        _LEAVE_CCD,
    ),
    "shadow or dark sky": Explanation(
        "One CCD has a darker sky than the others.",
        "The dome, a tree or a cable in the way, a shutter that stuck, or an amplifier of another gain.",
        _LEAVE_CCD,
    ),
    "noise": Explanation(
        "The sky of all CCDs or of one scatters more than its level explains; no pattern is stronger.",
        "Read noise of a bad amplifier, interference without a period, or any strong unevenness.",
        f"Look at the CCD at full resolution (gpuanom report --serve). {_NEXT}",
    ),
    "dead amplifier": Explanation(
        "Half of a CCD is dark, with a sharp edge in the middle.",
        "An amplifier or its cable gives no signal, or far too little.",
        f"{_LEAVE_CCD} Mask this half until the amplifier works again.",
    ),
    "amplifier step": Explanation(
        "A sharp step across the middle of a CCD, along one axis alone; the chart shows the steps of its profile.",
        "The bias or the gain of one amplifier has changed.",
        "Do the overscan correction anew; else leave this CCD out.",
    ),
    "row jitter": Explanation(
        "Each row of pixels has a level of its own.",
        "A bias that is unstable while rows are read out, or a bad overscan correction row by row.",
        f"Subtract the median of each row, or leave the exposure out. {_NEXT}",
    ),
    "column jitter": Explanation(
        "Each column of pixels has a level of its own, or trails run along the columns.",
        "Bad columns, a flat field or bias that is out of date, or read-out with an open shutter.",
        f"Check bias and flat field; look at the brightest stars for trails. {_NEXT}",
    ),
    "crosstalk": Explanation(
        "Mirror images of bright stars, at the same place in the other amplifier; mostly too faint for the picture.",
        "Signal of one amplifier leaks into another one that is read out at the same time.",
        "Correct it with the camera's crosstalk matrix; measure this matrix again if it was corrected.",
    ),
    # The background, places.
    "a large bright area": Explanation(
        "Sources and bright areas cover more of the CCDs than usual.",
        "A crowded field, a large galaxy, a nebula, or scattered light that is taken for sources.",
        "Look at the picture. A real object is no fault of the exposure.",
    ),
    "ring or ghost, or a bright star": Explanation(
        "One bright area without a break covers a large part of a CCD.",
        "A very bright star, a large galaxy, or the bright ghost of a star.",
        "Mask the area.",
    ),
    "uneven background": Explanation(
        "The map shows patches beyond the noise, on most CCDs or on the one that is named.",
        "Scattered light, clouds lit by the moon, a flat field that does not fit, or wide stripes.",
        "Check the flat field; a finer model of the sky may do.",
    ),
    "glow": Explanation(
        "One wide bright place on a CCD; the circle shows where it is brightest.",
        "Light of a bright star beside the field, an amplifier that glows, or a light leak.",
        "Mask the place, or leave this CCD out.",
    ),
    "ring or ghost": Explanation(
        "An arc, a ring or a disc with a sharp edge; squares mark the sharpest parts of the edge.",
        "The reflection of a bright star between filter, lenses and CCDs; also a bright star's halo.",
        "Mask it; bright stars at the same place give the same ghost.",
    ),
}
"""What each cause means, by the cause without its numbers (`gpuanom.report.causes.named_causes`)."""
