"""How near a decoded video comes to what it was made from, by its pixels: PSNR and SSIM, as papers on VAEs give them.

    PSNR = -10 log10(mean square error), one number a video, over all of its pixels in [0, 1]                 higher
    SSIM = mean over places of  (2 m_x m_y + c1)(2 s_xy + c2) / ((m_x^2 + m_y^2 + c1)(s_x^2 + s_y^2 + c2))    higher

SSIM is Wang et al. 2004 ("Image Quality Assessment: From Error Visibility to Structural Similarity"): means, variances
and the covariance in a Gaussian window of 11 px and deviation 1.5 at each place that has a whole one, c1 = 0.01^2 and
c2 = 0.03^2 for a range of 1, each colour by itself, then the mean. scikit-image's with the same options differs by less
than 1e-6. Equal videos have SSIM 1, noise and its source 0. Both see pixels only: what blurs everything keeps a good
PSNR, so give LPIPS (model/perceptual.py) beside them.

Legend: B batch, C channels, T H W frames and pixels, N frames of all videos.
"""

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

LEAST_SQUARE_ERROR = 1e-10  # equal videos have 100 dB, not infinitely many
WINDOW_PX, WINDOW_SIGMA = 11, 1.5
C1, C2 = 0.01**2, 0.03**2


def psnr_db(x_BCTHW: Tensor, y_BCTHW: Tensor) -> Tensor:
    """PSNR of each of B videos in [-1, 1], [B], over all of its values at once."""
    error = ((x_BCTHW.float() - y_BCTHW.float()) / 2).square().flatten(1).mean(dim=1)
    return -10 * error.clamp(min=LEAST_SQUARE_ERROR).log10()


def ssim(x_BCTHW: Tensor, y_BCTHW: Tensor) -> Tensor:
    """SSIM of each frame of two videos in [-1, 1], [B, T].

    Raises ValueError for shapes that differ, or sides under 11 px.
    """
    shape = list(x_BCTHW.shape)
    if shape != list(y_BCTHW.shape) or len(shape) != 5 or min(shape[3:]) < WINDOW_PX:
        raise ValueError(
            f"SSIM compares two videos [B, C, T, H, W] of one shape with sides of {WINDOW_PX} px or more, "
            f"got {shape} and {list(y_BCTHW.shape)}"
        )
    videos = [rearrange(video.float() / 2 + 0.5, "b c t h w -> (b t) c h w") for video in (x_BCTHW, y_BCTHW)]
    of_frames = torch.cat([_ssim(x, y) for x, y in zip(*(video.split(1) for video in videos), strict=True)])
    return of_frames.view(shape[0], shape[2])


def _ssim(x_NCHW: Tensor, y_NCHW: Tensor) -> Tensor:
    """Of each picture in [0, 1], [N]; a few at a time, as this holds nine more of their size."""
    channels = x_NCHW.shape[1]
    mean_x, mean_y, square_x, square_y, product = _windowed(
        torch.cat((x_NCHW, y_NCHW, x_NCHW.square(), y_NCHW.square(), x_NCHW * y_NCHW), dim=1)
    ).split(channels, dim=1)
    variance_x, variance_y = square_x - mean_x.square(), square_y - mean_y.square()
    covariance = product - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + C1) / (mean_x.square() + mean_y.square() + C1)
    structure = (2 * covariance + C2) / (variance_x + variance_y + C2)
    return (luminance * structure).flatten(1).mean(dim=1)


def _windowed(x_NCHW: Tensor) -> Tensor:
    """Gaussian means around the places that have a whole window: 10 rows and columns fewer."""
    offsets = torch.arange(WINDOW_PX, device=x_NCHW.device) - WINDOW_PX // 2
    weights = torch.exp(-(offsets.double() ** 2) / (2 * WINDOW_SIGMA**2))
    weights = (weights / weights.sum()).to(x_NCHW.dtype)
    channels = x_NCHW.shape[1]
    rows = F.conv2d(x_NCHW, weights.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)
    return F.conv2d(rows, weights.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)
