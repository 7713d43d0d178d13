"""A surface through coloured points, by Open3D."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

FEWEST = 100
"""Points below which a surface would be guesswork."""
_NEIGHBOURS = 16
_LEAST_SUPPORT = 0.06
"""Part of the Poisson surface, where the fewest points lie, that is cut away: there it was made up."""

Surface = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]


def surface_of(points: NDArray[np.float64], colours: NDArray[np.float64], method: str, depth: int | None) -> Surface:
    """Vertices `[V, 3]`, their colours `[V, 3]` (0..1), triangles `[T, 3]` and normals `[V, 3]`.

    method: poisson (Kazhdan and Hoppe 2013: closed and smooth; depth is that of its octree) or ball-pivoting
    (Bernardini et al. 1999: through the points themselves). ValueError when the points are too few or no surface is
    found, and when Open3D cannot be loaded.
    """
    if len(points) < FEWEST:
        raise ValueError(f"a mesh needs at least {FEWEST} points, and there are {len(points)}; ask for a larger size")
    if len(np.unique(points, axis=0)) < FEWEST:
        raise ValueError(f"a mesh needs at least {FEWEST} different points; most of these lie on one another")
    o3d = _open3d()
    cloud = o3d.geometry.PointCloud()
    cloud.points = o3d.utility.Vector3dVector(points)
    cloud.colors = o3d.utility.Vector3dVector(colours)
    cloud.estimate_normals(o3d.geometry.KDTreeSearchParamKNN(_NEIGHBOURS))
    cloud.orient_normals_consistent_tangent_plane(_NEIGHBOURS)
    _outwards(cloud, points, o3d)
    mesh = _poisson(cloud, depth, len(points), o3d) if method == "poisson" else _ball_pivoting(cloud, o3d)
    mesh.remove_degenerate_triangles()
    mesh.remove_duplicated_triangles()
    mesh.remove_unreferenced_vertices()
    mesh.compute_vertex_normals()
    triangles = np.asarray(mesh.triangles).astype(np.int64)
    if not len(triangles):
        raise ValueError(f"{method} found no surface through the {len(points)} points; try the other method")
    shades = np.clip(np.asarray(mesh.vertex_colors), 0, 1)
    return np.asarray(mesh.vertices), shades, triangles, np.asarray(mesh.vertex_normals)


def _outwards(cloud: Any, points: NDArray[np.float64], o3d: Any) -> None:
    """Turn all normals round when they point inwards on the whole: their orientation is consistent, but arbitrary."""
    normals = np.asarray(cloud.normals)
    if float(np.einsum("nd,nd->n", normals, points - points.mean(axis=0)).sum()) < 0:
        cloud.normals = o3d.utility.Vector3dVector(-normals)


def _poisson(cloud: Any, depth: int | None, count: int, o3d: Any) -> Any:
    levels = depth if depth is not None else (5 if count < 1000 else 6 if count < 4000 else 7)
    # One thread: with more, the sums of the solver and so the bytes of the file would differ from run to run.
    mesh, density = o3d.geometry.TriangleMesh.create_from_point_cloud_poisson(cloud, depth=levels, n_threads=1)
    support = np.asarray(density)
    mesh.remove_vertices_by_mask(support < np.quantile(support, _LEAST_SUPPORT))
    return mesh


def _ball_pivoting(cloud: Any, o3d: Any) -> Any:
    gap = float(np.mean(np.asarray(cloud.compute_nearest_neighbor_distance())))
    radii = o3d.utility.DoubleVector([gap * factor for factor in (1.0, 1.5, 2.2, 3.2, 4.5)])
    return o3d.geometry.TriangleMesh.create_from_point_cloud_ball_pivoting(cloud, radii)


def _open3d() -> Any:
    """Open3D, imported now: it takes two seconds. ValueError says which package of the system is missing."""
    try:
        import open3d
    except ModuleNotFoundError as error:
        raise ValueError(f"meshes need the package open3d ({error}); install it with `pip install open3d`") from error
    except (ImportError, OSError) as error:
        raise ValueError(
            f"Open3D cannot load a library of the system ({error}); on Debian or Ubuntu: "
            "`apt-get install libgl1 libx11-6 libgomp1 libudev1`; with Homebrew: `brew install libomp`"
        ) from error
    return open3d
